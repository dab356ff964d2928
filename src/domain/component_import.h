#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "domain/capability.h"

namespace alga::domain {

/// What runners make of an interface that a component imports.
enum class ImportStanding : std::uint8_t {
  offered,
  other_version,  ///< offered, but in none of the versions that go with this one
  unknown,
};

/// Of `alga:extension/http@1.0.0`, `wasi:io/streams@0.2.3` and so on. Interfaces that are linked
/// only to answer with their denied case count as offered.
[[nodiscard]] ImportStanding standing_of_import(std::string_view name);

/// The capability without which its calls are denied; none where calls need none.
[[nodiscard]] std::optional<Capability> capability_of_import(std::string_view name);

}  // namespace alga::domain
