#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "control_plane/artefact_inventory.h"
#include "control_plane/core.h"
#include "control_plane/warm_ups.h"

namespace alga::control_plane {

/// Publishing compiles; this compiles again what is used and no runner could map any more, because
/// the engine is another one (an upgrade) or the key that signs (`alga_artefact_key` was
/// exchanged), or because it had to make room in the bundle store (ArtefactInventory, whose upkeep
/// this does). Runners that compile nothing themselves depend on it. After a start it goes through
/// what installs use, enabled ones first, and logs `everything that installs use is compiled`; then
/// it waits for orders. One component at a time, on a thread of its own; runners are then told.
/// What fails for a reason that may pass is tried again within a minute and with the next order.
/// Metric: `alga_recompiles_waiting`. Thread-safe.
class KeepCompiled {
 public:
  /// All outlive this. Does nothing before start().
  KeepCompiled(const Core& core, ArtefactInventory& artefacts, WarmUps& warm_ups);
  ~KeepCompiled();
  KeepCompiled(const KeepCompiled&) = delete;
  KeepCompiled& operator=(const KeepCompiled&) = delete;

  void start();
  /// What an install is about to use. Never blocks.
  void order(const ContentHash& bundle);
  /// Has the compiler and the bundle store abort, so that a compile or a transfer that is under way
  /// (a publisher's, too) ends without its work done; the next start does it.
  void stop();

  static constexpr std::chrono::seconds before_next_attempt{60};
  /// At what is used and cannot be compiled: pages, what the compiler refuses, what finds no room
  /// on this server's disk. An order looks at once.
  static constexpr std::chrono::hours before_next_look{1};

 private:
  void run();
  [[nodiscard]] Result<std::vector<ContentHash>> in_use() const;
  /// Queues what installs use, as soon as the database tells.
  void list();
  /// Writes down what was used, queues what of it is not compiled, and keeps the bound.
  void upkeep();
  void enqueue(const ContentHash& bundle);  // with the mutex
  void rest(const ContentHash& bundle);
  void take(const ContentHash& bundle);
  /// True when runners find what they did not find before.
  [[nodiscard]] Result<bool> see_to(const ContentHash& bundle);

  const Core& core_;
  ArtefactInventory& artefacts_;
  WarmUps& warm_ups_;
  Gauge& waiting_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::deque<ContentHash> queue_;
  bool ordered_ = false;  // since what failed was last tried
  std::thread thread_;
  // Of the thread alone:
  bool listed_ = false;
  bool said_ = false;
  std::size_t compiled_ = 0;
  std::size_t refused_ = 0;
  SteadyTime next_upkeep_{};
  std::vector<ContentHash> later_;  // failed, and may not fail again
  std::map<ContentHash, SteadyTime> rests_until_;
};

}  // namespace alga::control_plane
