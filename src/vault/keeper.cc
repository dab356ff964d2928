#include "vault/keeper.h"

#include <utility>

#include "async/thread_name.h"

namespace alga::vault {

Keeper::Keeper(std::chrono::milliseconds every, std::function<void()> work)
    : thread_([this, every, work = std::move(work)] {
        async::name_this_thread("vault-keeper");
        std::unique_lock lock(mutex_);
        while (!wake_.wait_for(lock, every, [this] { return stopping_; })) {
          lock.unlock();
          work();
          lock.lock();
        }
      }) {}

Keeper::~Keeper() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

}  // namespace alga::vault
