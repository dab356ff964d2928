#include "async/blocking_pool.h"

#include <algorithm>

#include "async/thread_name.h"
#include "base/late.h"

namespace alga::async {

BlockingPool::BlockingPool(std::size_t threads, std::size_t max_queued, std::string name)
    : max_queued_(max_queued) {
  threads = std::max<std::size_t>(threads, 1);
  threads_.reserve(threads);
  for (std::size_t i = 0; i < threads; ++i) {
    threads_.emplace_back([this, thread_name = name + "-" + std::to_string(i)] {
      name_this_thread(thread_name);
      work();
    });
  }
}

BlockingPool::~BlockingPool() { close(); }

bool BlockingPool::submit(std::move_only_function<void()> job) {
  const std::scoped_lock lock(mutex_);
  if (closed_ || jobs_.size() >= max_queued_) return false;
  jobs_.push_back(std::move(job));
  // Under the lock: whoever hears from the job that it is done may close the pool and free it, and
  // closing waits for the lock.
  wake_.notify_one();
  return true;
}

void BlockingPool::close() {
  {
    const std::scoped_lock lock(mutex_);
    closed_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

std::size_t BlockingPool::queued() const {
  const std::scoped_lock lock(mutex_);
  return jobs_.size();
}

void BlockingPool::work() {
  while (true) {
    std::move_only_function<void()> job;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return closed_ || !jobs_.empty(); });
      if (jobs_.empty()) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    come_late(std::chrono::milliseconds{4});
    job();
  }
}

std::unexpected<Error> BlockingPool::thrown(const char* what) {
  return fail(Kind::internal, "async.exception", what);
}

std::unexpected<Error> BlockingPool::refused() {
  Error error{Kind::unavailable, "async.pool_full", "too much work is waiting"};
  error.retry_after_s = 1;
  return fail(std::move(error));
}

}  // namespace alga::async
