#pragma once

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <cstddef>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace alga::async {

/// A fixed number of I/O threads, each running its own io_context: what starts on one stays on it,
/// so connection state needs no lock. Handlers that throw are bugs and end the process.
class IoThreads {
 public:
  /// Starts `count` (at least 1) threads named `<name>-<n>` (the kernel keeps 15 characters).
  IoThreads(std::size_t count, std::string name);
  /// stop()s.
  ~IoThreads();
  IoThreads(const IoThreads&) = delete;
  IoThreads& operator=(const IoThreads&) = delete;

  [[nodiscard]] std::size_t size() const { return loops_.size(); }
  [[nodiscard]] boost::asio::io_context& at(std::size_t index) [[clang::lifetimebound]] {
    return *loops_.at(index)->context;
  }
  /// The threads in turn. Thread-safe.
  [[nodiscard]] boost::asio::io_context& next() [[clang::lifetimebound]] {
    return at(next_.fetch_add(1, std::memory_order_relaxed) % loops_.size());
  }

  /// Drops what has not run and joins the threads; call it after everything on them has drained and
  /// never from one of them. The io_contexts live on until the destructor.
  void stop();

 private:
  using WorkGuard = boost::asio::executor_work_guard<boost::asio::io_context::executor_type>;
  struct Loop {
    std::unique_ptr<boost::asio::io_context> context;
    std::unique_ptr<WorkGuard> work;
    std::thread thread;
  };
  std::vector<std::unique_ptr<Loop>> loops_;
  std::atomic<std::size_t> next_{0};
};

}  // namespace alga::async
