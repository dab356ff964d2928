#pragma once

#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <memory>
#include <utility>

#include "async/hand_over.h"
#include "async/task.h"
#include "base/callback.h"

namespace alga::async {

/// Awaits an operation that answers through a Callback:
/// `co_await await_callback<HttpResponse>([&](auto done) { client.send(request, std::move(done));
/// })` The coroutine resumes on its own executor. It cannot be cancelled: give the operation a
/// deadline.
template <class T, class Start>
[[nodiscard]] Task<Result<T>> await_callback(Start start) {
  return boost::asio::async_initiate<const boost::asio::use_awaitable_t<>, void(Result<T>)>(
      [](auto handler, Start begin) {
        auto guard = boost::asio::make_work_guard(boost::asio::get_associated_executor(handler));
        begin(Callback<T>(
            [handler = std::move(handler), guard = std::move(guard)](Result<T> outcome) mutable {
              auto executor = guard.get_executor();
              hand_over(executor,
                        [handler = std::move(handler), outcome = std::move(outcome)]() mutable {
                          handler(std::move(outcome));
                        });
              guard.reset();
            }));
      },
      boost::asio::use_awaitable, std::move(start));
}

}  // namespace alga::async
