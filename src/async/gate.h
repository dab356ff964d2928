#pragma once

#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <optional>
#include <utility>

#include "base/clock.h"

namespace alga::async {

/// Counts what is inside and lets nothing in once closed: how a component waits for its background
/// work at shutdown. Thread-safe. The gate outlives its passes.
class Gate {
 public:
  /// Held while inside; leaving is its destruction. Move-only.
  class Pass {
   public:
    Pass(Pass&& other) noexcept : gate_(std::exchange(other.gate_, nullptr)) {}
    Pass& operator=(Pass&&) = delete;
    Pass(const Pass&) = delete;
    Pass& operator=(const Pass&) = delete;
    ~Pass() {
      if (gate_ != nullptr) gate_->leave();
    }

   private:
    friend class Gate;
    explicit Pass(Gate* gate) : gate_(gate) {}
    Gate* gate_;
  };

  /// None once the gate is closed.
  [[nodiscard]] std::optional<Pass> enter();
  void close();
  [[nodiscard]] bool closed() const;
  [[nodiscard]] std::size_t inside() const;
  /// Blocks the calling thread until nobody is inside; false when `deadline` (system steady clock)
  /// came first.
  [[nodiscard]] bool wait_empty(SteadyTime deadline) const;

 private:
  void leave();
  mutable std::mutex mutex_;
  mutable std::condition_variable empty_;
  std::size_t inside_ = 0;
  bool closed_ = false;
};

}  // namespace alga::async
