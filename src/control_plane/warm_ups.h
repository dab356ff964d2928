#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "control_plane/core.h"
#include "control_plane/signing_keys.h"
#include "domain/ports/warm_up_target.h"

namespace alga::control_plane {

/// Tells every runner what was published, installed or enabled, after the fact and beside it: who
/// publishes waits for nobody, and nothing fails because a runner is away. Each runner has a queue
/// and a thread of its own; an order that fails is repeated once; what does not fit is dropped and
/// counted. Metrics: `alga_warm_ups_total` by outcome, `alga_warm_up_seconds`. Thread-safe.
class WarmUps {
 public:
  /// `core`, `keys` and the targets of its dependencies outlive this.
  WarmUps(const Core& core, const SigningKeys& keys);
  ~WarmUps();
  WarmUps(const WarmUps&) = delete;
  WarmUps& operator=(const WarmUps&) = delete;

  /// Never blocks. A bundle that waits already is not queued twice.
  void order(const ContentHash& bundle);

  /// Ends the threads; an order under way is aborted, what waits is forgotten.
  void stop();

  static constexpr std::size_t longest_queue = 256;
  static constexpr std::chrono::milliseconds before_second_attempt{1'000};

 private:
  struct Lane {
    domain::WarmUpTarget* target = nullptr;
    std::deque<ContentHash> waiting;
    std::thread thread;
  };
  struct Series {
    Counter &ready, &compiling, &nothing, &failed, &dropped;
    Histogram& seconds;
  };
  void run(Lane& lane);
  void perform(Lane& lane, const ContentHash& bundle);
  [[nodiscard]] Result<domain::WarmUpTarget::Answer> attempt(Lane& lane,
                                                             const ContentHash& bundle) const;
  void count(domain::WarmUpTarget::Answer answer);

  const Core& core_;
  const SigningKeys& keys_;
  const Series series_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::vector<std::unique_ptr<Lane>> lanes_;
};

}  // namespace alga::control_plane
