#pragma once

#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include "async/hand_over.h"
#include "async/task.h"
#include "base/fair_queue.h"
#include "base/result.h"

namespace alga::async {

namespace detail {
template <class T>
struct AsResult {
  using type = Result<T>;
};
template <class T>
struct AsResult<Result<T>> {
  using type = Result<T>;
};
}  // namespace detail

/// Threads for work that blocks: SQL, files, compression, key derivation. Bounded: when
/// `max_queued` jobs wait, more are refused with `async.pool_full` (unavailable). Thread-safe.
class BlockingPool {
 public:
  /// What one line may have of the pool: threads, and jobs that wait.
  struct Share {
    std::size_t threads, queued;
  };
  /// Three quarters of the threads and a quarter of what may wait: whoever is slow leaves others a
  /// thread, where there is more than one, and whoever floods the greater part of the queue.
  [[nodiscard]] static Share usual_share(std::size_t threads, std::size_t max_queued);

  /// With usual_share() for each line.
  BlockingPool(std::size_t threads, std::size_t max_queued, std::string name = "blocking");
  /// close()s.
  ~BlockingPool();
  BlockingPool(const BlockingPool&) = delete;
  BlockingPool& operator=(const BlockingPool&) = delete;

  /// Runs `job` on a pool thread and comes back to the caller's executor. A job that answers
  /// Result<T> gives Result<T>; any other T is wrapped. An exception becomes `async.exception`.
  /// Cancelling the awaiting coroutine does not stop the job: the coroutine waits for its end.
  template <class F>
  [[nodiscard]] auto run(F job) -> Task<typename detail::AsResult<std::invoke_result_t<F&>>::type> {
    using Outcome = typename detail::AsResult<std::invoke_result_t<F&>>::type;
    return boost::asio::async_initiate<const boost::asio::use_awaitable_t<>, void(Outcome)>(
        [this](auto handler, F work) {
          auto executor = boost::asio::get_associated_executor(handler);
          auto guard = boost::asio::make_work_guard(executor);
          // The handler sits behind a shared pointer because a refused job must still answer.
          auto shared = std::make_shared<decltype(handler)>(std::move(handler));
          auto answer = [shared, guard = std::move(guard)](Outcome outcome) mutable {
            hand_over(guard.get_executor(), [shared, outcome = std::move(outcome)]() mutable {
              auto resume = std::move(*shared);
              shared.reset();
              resume(std::move(outcome));
            });
            shared.reset();
          };
          const bool queued = this->submit(
              [answer, work = std::move(work)]() mutable { answer(invoke<Outcome>(work)); });
          if (!queued) answer(refused());
        },
        boost::asio::use_awaitable, std::move(job));
  }

  /// Queues `job` without an answer. False when the pool is full or closed; the job is dropped.
  /// It must not throw.
  [[nodiscard]] bool submit(std::move_only_function<void()> job) {
    return submit({}, std::move(job));
  }
  /// In a line of that name, such as a tenant's. Lines take turns, and each has its share of the
  /// pool; false also when that is used up. The line without a name has all of the pool.
  [[nodiscard]] bool submit(const std::string& line, std::move_only_function<void()> job);

  /// Takes no more jobs, runs those that wait and joins the threads.
  void close();

  [[nodiscard]] std::size_t queued() const;

 private:
  template <class Outcome, class F>
  static Outcome invoke(F& job) noexcept {
    try {
      if constexpr (std::is_void_v<std::invoke_result_t<F&>>) {
        job();
        return Outcome{};
      } else {
        return Outcome(job());
      }
    } catch (const std::exception& error) {
      return thrown(error.what());
    } catch (...) {
      return thrown("unknown exception");
    }
  }
  static std::unexpected<Error> thrown(const char* what);
  static std::unexpected<Error> refused();
  void work();
  [[nodiscard]] bool may_run(const std::string& line) const;

  const std::size_t max_queued_;
  const Share share_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  FairQueue<std::move_only_function<void()>> jobs_;
  std::unordered_map<std::string, std::size_t> running_;  ///< threads of each line with a name
  bool closed_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace alga::async
