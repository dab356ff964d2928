#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

#include "async/task.h"
#include "control_plane/core.h"
#include "domain/ports/change_feed.h"

namespace alga::control_plane {

/// What `control_plane.lease` is at most, in every process: nobody serves longer than this from
/// before a change, whatever the one that acknowledges it was told.
inline constexpr std::chrono::milliseconds longest_lease{1'000};

/// Counts a change of an install and has it pushed at the commit (PostgreSQL: NOTIFY). To be called
/// by every transaction after which a gateway must ask again.
Status mark_change(sql::Executor& sql);

/// Who may be serving from before a change: rows that gateways keep alive, see LeaseKeeper, and one
/// for all those that keep none. docs/adr/0030. Thread-safe.
class LeaseHolders {
 public:
  explicit LeaseHolders(const Core& core);

  /// Waits until nobody can be serving from before what is committed now: until every holder has
  /// confirmed it or has come to the end that its row says, by the clock of the database. Not
  /// longer than the longest lease and a tenth, by the clock of this process. The lease of this
  /// process plays no part: others may have another. Nothing to wait for when all gateways are in
  /// this process.
  async::Task<void> settle() const;

  /// Before an answer is given to somebody who keeps it for a lease of his own and confirms
  /// nothing: changes wait for the longest lease as long as such answers may be about. Blocks.
  /// Errors of sql.
  Status cover_anonymous() const;

 private:
  /// Of the changes that are committed now, the newest.
  [[nodiscard]] Result<std::int64_t> newest() const;
  [[nodiscard]] Result<bool> confirmed(std::int64_t seq) const;

  const Core& core_;
  Counter& early_;
  Counter& late_;
  Histogram& seconds_;
  mutable std::mutex mutex_;
  mutable SteadyTime covered_until_{};
};

/// A gateway's side: keeps its row alive by one poll for all installs, three times in a lease, and
/// at once when PostgreSQL pushes a change. Each poll confirms what it saw. Where the database
/// cannot be asked the row runs out, and with it what view() says. One thread.
class LeaseKeeper final : public domain::ChangeFeed {
 public:
  /// `core` outlives the keeper.
  explicit LeaseKeeper(const Core& core);
  ~LeaseKeeper() override;
  [[nodiscard]] View view() const override;
  /// Gives the row back, so that no change waits for this process.
  void stop();

 private:
  void run();
  Status beat();
  [[nodiscard]] bool pause(std::chrono::milliseconds span);

  const Core& core_;
  const std::string id_;
  Counter& pushed_;
  Counter& polled_;
  Counter& failed_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  View view_;
  std::int64_t seen_ = -1;
  std::thread thread_;
};

}  // namespace alga::control_plane
