#include "async/gate.h"

namespace alga::async {

std::optional<Gate::Pass> Gate::enter() {
  const std::scoped_lock lock(mutex_);
  if (closed_) return std::nullopt;
  ++inside_;
  return Pass{this};
}

void Gate::close() {
  const std::scoped_lock lock(mutex_);
  closed_ = true;
}

bool Gate::closed() const {
  const std::scoped_lock lock(mutex_);
  return closed_;
}

std::size_t Gate::inside() const {
  const std::scoped_lock lock(mutex_);
  return inside_;
}

bool Gate::wait_empty(SteadyTime deadline) const {
  std::unique_lock lock(mutex_);
  return empty_.wait_until(lock, deadline, [this] { return inside_ == 0; });
}

void Gate::leave() {
  // Notified under the lock: whoever waits may destroy the gate as soon as it sees zero.
  const std::scoped_lock lock(mutex_);
  if (--inside_ == 0) empty_.notify_all();
}

}  // namespace alga::async
