#pragma once

#include "control_plane/core.h"

namespace alga::control_plane {

/// Keeps logs within their bounds of age and size. The audit trail has no bound here: who must keep
/// it for how long is the operator's law. Executions whose gateway died before their end are
/// written off with the error `gateway_lost`, with what the runner said of them where it did; a
/// gateway that finishes one later is believed. Blocks.
class Retention {
 public:
  explicit Retention(const Core& core) : core_(core) {}
  /// Answers how many rows went.
  Result<std::uint64_t> sweep();

 private:
  Status write_off();
  Result<std::uint64_t> trim_tenant(const std::string& tenant, std::uint64_t bytes);
  const Core& core_;
};

}  // namespace alga::control_plane
