#include "async/deadline.h"

#include <algorithm>

namespace alga::async {

Task<void> sleep_until(const Clock* clock, SteadyTime deadline) {
  auto executor = co_await boost::asio::this_coro::executor;
  const bool real = dynamic_cast<const SystemClock*>(clock) != nullptr;
  boost::asio::steady_timer timer(executor);
  while (clock->steady() < deadline) {
    if (real) {
      timer.expires_at(deadline);
    } else {
      timer.expires_after(std::chrono::milliseconds(1));
    }
    co_await timer.async_wait(boost::asio::use_awaitable);
  }
}

}  // namespace alga::async
