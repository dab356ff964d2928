#pragma once

#include "control_plane/core.h"

namespace alga::control_plane {

/// Keeps logs within their bounds of age and size. The audit trail has no bound here: who must keep
/// it for how long is the operator's law. Blocks.
class Retention {
 public:
  explicit Retention(const Core& core) : core_(core) {}
  /// Answers how many rows went.
  Result<std::uint64_t> sweep();

 private:
  Result<std::uint64_t> trim_tenant(const std::string& tenant, std::uint64_t bytes);
  const Core& core_;
};

}  // namespace alga::control_plane
