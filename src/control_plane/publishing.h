#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "control_plane/artefact_inventory.h"
#include "control_plane/component_check.h"
#include "control_plane/core.h"
#include "control_plane/refusal.h"
#include "control_plane/staging.h"

namespace alga::control_plane {

struct FinalizeRequest {
  std::string key;
  std::optional<std::uint64_t> size;
  std::optional<std::string> declared_hash;
  /// JSON `{"algorithm":"ed25519","key_id","signature"}`.
  std::optional<std::string> signature_text;
};

struct Publication {
  std::string extension_id, name, publisher, slug;
  std::string version_id, version;
  std::string content_hash;  ///< hex
  std::string canonical_key;
  std::vector<PublishWarning> warnings;
};

/// Turns a staged upload into a version: archive, manifest, publisher, signature and component are
/// checked, the component is compiled, the bundle goes to its place, and the rows appear in one
/// transaction, which is the moment of publication. Interrupted anywhere before, nothing is
/// published and the upload can be finalised again. Thread-safe; blocks for seconds.
class Publishing {
 public:
  Publishing(const Core& core, Staging& staging, ArtefactInventory& artefacts)
      : core_(core), staging_(staging), artefacts_(artefacts) {}
  PublishResult<Publication> finalize(const Caller& caller, const FinalizeRequest& request);

 private:
  const Core& core_;
  Staging& staging_;
  ArtefactInventory& artefacts_;
};

/// What is signed: `alga-bundle:v1:sha256:<hex>`.
[[nodiscard]] std::string bundle_signature_text(std::string_view hash_hex);

}  // namespace alga::control_plane
