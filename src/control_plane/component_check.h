#pragma once

#include <string>
#include <vector>

#include "control_plane/control_plane.h"
#include "control_plane/refusal.h"
#include "domain/capability.h"
#include "domain/manifest.h"
#include "domain/ports/component_inspector.h"

namespace alga::control_plane {

/// Something that the author should know and that stops nothing.
struct PublishWarning {
  std::string code;
  std::string message;
};

/// Holds a component to the world and to its manifest. Answers warnings; refuses with
/// `INVALID_COMPONENT` and one issue for each import or property at fault.
[[nodiscard]] PublishResult<std::vector<PublishWarning>> check_component(
    const domain::ComponentReport& report, const domain::Manifest& manifest,
    const PublishPolicy& policy, WallTime now);

}  // namespace alga::control_plane
