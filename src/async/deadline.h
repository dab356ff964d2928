#pragma once

#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>
#include <chrono>
#include <exception>
#include <utility>
#include <variant>

#include "async/task.h"
#include "base/clock.h"
#include "base/result.h"

namespace alga::async {

/// Waits until `clock` shows `deadline`. On the system clock it is one timer; any other clock (a
/// test's) is looked at every millisecond. Cancelling the coroutine throws, as Asio does.
[[nodiscard]] Task<void> sleep_until(const Clock* clock, SteadyTime deadline);
[[nodiscard]] inline Task<void> sleep_for(const Clock* clock, std::chrono::milliseconds duration) {
  return sleep_until(clock, clock->steady() + duration);
}

/// Turns what `operation` throws into an Error: `async.cancelled` or `async.exception`.
template <class T>
[[nodiscard]] Task<Result<T>> guarded(Task<Result<T>> operation) {
  try {
    Result<T> outcome = co_await std::move(operation);
    co_return outcome;
  } catch (const boost::system::system_error& error) {
    if (error.code() == boost::asio::error::operation_aborted) {
      co_return fail(Kind::unavailable, "async.cancelled", "cancelled");
    }
    co_return fail(Kind::internal, "async.exception", error.what());
  } catch (const std::exception& error) {
    co_return fail(Kind::internal, "async.exception", error.what());
  }
}

/// Runs `operation` until `deadline` (system steady clock); then cancels it, waits until it has
/// stopped and answers `async.deadline` (timeout). An operation that cannot be cancelled, such as
/// a job on a BlockingPool, is waited for. What the operation throws becomes an Error.
template <class T>
[[nodiscard]] Task<Result<T>> with_deadline(Task<Result<T>> operation, SteadyTime deadline) {
  using namespace boost::asio::experimental::awaitable_operators;
  auto executor = co_await boost::asio::this_coro::executor;
  boost::asio::steady_timer timer(executor, deadline);
  auto outcome =
      co_await (guarded(std::move(operation)) || timer.async_wait(boost::asio::use_awaitable));
  if (auto* value = std::get_if<0>(&outcome)) co_return std::move(*value);
  co_return fail(Kind::timeout, "async.deadline", "the deadline has passed");
}

}  // namespace alga::async
