#include "async/io_threads.h"

#include <pthread.h>

#include <algorithm>

#include "async/thread_name.h"
#include "base/time_slice.h"

namespace alga::async {

IoThreads::IoThreads(std::size_t count, std::string name) {
  count = std::max<std::size_t>(count, 1);
  for (std::size_t i = 0; i < count; ++i) {
    auto loop = std::make_unique<Loop>();
    // One thread per context: Asio can leave its own locks out of the fast path.
    loop->context = std::make_unique<boost::asio::io_context>(1);
    loop->work = std::make_unique<WorkGuard>(loop->context->get_executor());
    loops_.push_back(std::move(loop));
  }
  for (std::size_t i = 0; i < count; ++i) {
    Loop& loop = *loops_[i];
    loop.thread = std::thread([&loop, thread_name = name + "-" + std::to_string(i)] {
      name_this_thread(thread_name);
      ask_for_short_turns(brief_turn);
      loop.context->run();
    });
  }
}

IoThreads::~IoThreads() { stop(); }

void IoThreads::stop() {
  for (auto& loop : loops_) {
    loop->work.reset();
    loop->context->stop();
  }
  for (auto& loop : loops_) {
    if (loop->thread.joinable()) loop->thread.join();
  }
}

}  // namespace alga::async
