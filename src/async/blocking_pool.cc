#include "async/blocking_pool.h"

#include <algorithm>
#include <optional>

#include "async/thread_name.h"
#include "base/late.h"

namespace alga::async {

BlockingPool::BlockingPool(std::size_t threads, std::size_t max_queued, std::string name)
    : max_queued_(max_queued), share_(usual_share(std::max<std::size_t>(threads, 1), max_queued)) {
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

BlockingPool::Share BlockingPool::usual_share(std::size_t threads, std::size_t max_queued) {
  const std::size_t left_to_others = std::max<std::size_t>(1, threads / 4);
  return {.threads = threads > left_to_others ? threads - left_to_others : 1,
          .queued = std::max<std::size_t>(1, max_queued / 4)};
}

bool BlockingPool::submit(const std::string& line, std::move_only_function<void()> job) {
  const std::scoped_lock lock(mutex_);
  if (closed_ || jobs_.size() >= max_queued_) return false;
  if (!line.empty() && jobs_.size(line) >= share_.queued) return false;
  jobs_.push(line, std::move(job));
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

bool BlockingPool::may_run(const std::string& line) const {
  const auto found = running_.find(line);
  return found == running_.end() || found->second < share_.threads;
}

void BlockingPool::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    std::optional<decltype(jobs_)::Taken> next;
    wake_.wait(lock, [&] {
      next = jobs_.pop([this](const std::string& line) { return may_run(line); });
      return next || closed_;
    });
    // What is left when the pool closes belongs to lines whose threads come back for it.
    if (!next) return;
    const std::string line = std::move(next->line);
    if (!line.empty()) ++running_[line];
    lock.unlock();
    come_late(std::chrono::milliseconds{4});
    next->item();
    next.reset();
    lock.lock();
    if (line.empty()) continue;
    if (const auto mine = running_.find(line); --mine->second == 0) running_.erase(mine);
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
