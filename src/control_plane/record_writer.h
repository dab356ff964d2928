#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <variant>
#include <vector>

#include "base/callback.h"
#include "base/metrics.h"
#include "control_plane/core.h"
#include "domain/ports/execution_log.h"
#include "domain/ports/records.h"

namespace alga::control_plane {

/// Everything that is recorded about executions goes through here: a bounded queue and one thread
/// that writes what has gathered in one transaction (group commit), and admits there, within the
/// tenant's quota, what wants to start. A full queue drops the newest
/// record and counts it; a started row is never dropped, its caller is told instead. Records that a
/// database refuses for what they are (not for its own trouble) are dropped one by one and counted.
///
/// What guests can make many of, log lines and events of capabilities, waits in a queue of its own,
/// of which one tenant has a quarter at most: it keeps no execution of anybody from its start.
class RecordWriter final : public domain::RecordSink, public domain::ExecutionLog {
 public:
  struct Bounds {
    std::size_t queue = 20'000;  ///< records of each of the two queues
    std::size_t batch = 1'000;   ///< records of one transaction
  };
  explicit RecordWriter(const Core& core) : RecordWriter(core, Bounds{}) {}
  RecordWriter(const Core& core, Bounds bounds);
  ~RecordWriter() override;

  void execution(domain::ExecutionRecord record) noexcept override;
  void guest_log(domain::GuestLogLine line) noexcept override;
  void capability(domain::CapabilityEvent event) noexcept override;

  async::Task<Status> start(domain::StartedExecution execution) override;
  void finish(domain::FinishedExecution execution) noexcept override;

  /// True once everything that was taken before the call has been written or dropped.
  [[nodiscard]] bool flush(SteadyTime deadline);
  /// Writes what waits, at most until `deadline`, and ends the thread.
  void stop(SteadyTime deadline);

  struct Starting {
    domain::StartedExecution execution;
    std::shared_ptr<Callback<void>> done;
  };
  using Item = std::variant<Starting, domain::FinishedExecution, domain::ExecutionRecord,
                            domain::GuestLogLine, domain::CapabilityEvent>;

 private:
  bool take(Item item) noexcept;
  /// For one more note of this tenant.
  [[nodiscard]] bool has_room(const std::string& tenant) const;
  void show_unwritten();
  std::vector<Item> next_batch();
  void run();
  void write(std::vector<Item> batch);
  void write_singly(std::vector<Item>& batch);
  void settle(std::vector<Item>& batch, const std::vector<Status>& verdicts);
  /// `verdicts` gets one for each item: good, or why it was not admitted.
  Status store(const std::vector<Item>& batch, std::vector<Status>& verdicts);

  const Core& core_;
  const Bounds bounds_;
  Counter& written_;
  Counter& dropped_;
  Counter& over_quota_;
  Gauge& unwritten_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable idle_;
  struct Queue {
    std::deque<Item> items;
    std::uint64_t taken = 0, settled = 0;
    [[nodiscard]] std::uint64_t unsettled() const { return taken - settled; }
  };
  Queue rows_;                                          ///< starts, ends and executions
  Queue notes_;                                         ///< log lines, events of capabilities
  std::unordered_map<std::string, std::size_t> noted_;  ///< of notes_, by tenant
  bool stopping_ = false;
  SteadyTime give_up_{};
  std::thread thread_;
};

}  // namespace alga::control_plane
