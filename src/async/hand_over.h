#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <functional>

namespace alga::async {

/// Runs `step` on the thread of `executor`, as boost::asio::post does, from a thread that is not
/// its own. Asio rings a loop's bell while it holds the loop's lock, so that the thread which it
/// wakes has to wait for the one that woke it: two more switches of threads for every answer. Here
/// the bell rings after the step has been put down, without a lock.
///
/// Steps of one thread keep their order. `step` is dropped without being run when the loop ends
/// first; it must not throw. The caller keeps the loop alive and at work
/// (boost::asio::make_work_guard) until this returns, and the step holds such a guard itself if the
/// loop may end for want of work. Thread-safe.
void hand_over(const boost::asio::any_io_executor& executor, std::move_only_function<void()> step);

}  // namespace alga::async
