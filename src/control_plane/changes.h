#pragma once

#include <atomic>
#include <cstdint>

namespace alga::control_plane {

/// Counts the committed changes of installs in this process. Whoever keeps a copy of an install's
/// state notes the number before reading and asks again when it has grown.
class Changes {
 public:
  [[nodiscard]] std::uint64_t count() const { return count_.load(std::memory_order_acquire); }
  /// After the commit, before the acknowledgement.
  void announce() { count_.fetch_add(1, std::memory_order_acq_rel); }

 private:
  std::atomic<std::uint64_t> count_{0};
};

}  // namespace alga::control_plane
