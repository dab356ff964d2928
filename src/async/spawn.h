#pragma once

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>
#include <utility>

#include "async/task.h"

namespace alga::async {

/// Starts `task` on `context` and forgets it. It must catch what it can expect: an exception that
/// leaves it is a bug and ends the process, except a cancellation.
void spawn(boost::asio::io_context& context, Task<void> task);

/// Runs `task` on `context` and blocks the calling thread (never one of the context's own) until it
/// has ended; exceptions come out here. For main programs and tests.
template <class T>
T block_on(boost::asio::io_context& context, Task<T> task) {
  return boost::asio::co_spawn(context, std::move(task), boost::asio::use_future).get();
}

/// The same on a private io_context run by the calling thread.
template <class T>
T block_on(Task<T> task) {
  boost::asio::io_context context(1);
  auto future = boost::asio::co_spawn(context, std::move(task), boost::asio::use_future);
  context.run();
  return future.get();
}

}  // namespace alga::async
