#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace alga::vault {

/// Does something every few seconds on a thread of its own, until it is destroyed: renews Vault
/// tokens of idle processes, reads key rings again.
class Keeper {
 public:
  /// `work` must not throw; it is called for the first time after `every`.
  Keeper(std::chrono::milliseconds every, std::function<void()> work);
  /// Waits for a call that is running.
  ~Keeper();
  Keeper(const Keeper&) = delete;
  Keeper& operator=(const Keeper&) = delete;

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace alga::vault
