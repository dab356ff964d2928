#pragma once

#include <array>
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
/// What guests can make many of waits in queues of its own, log lines in one and events of
/// capabilities, which become rows of the audit trail, in another; one tenant has a quarter of each
/// at most. So it keeps no execution of anybody from its start, and no line drives out an event.
class RecordWriter final : public domain::RecordSink, public domain::ExecutionLog {
 public:
  struct Bounds {
    std::size_t queue = 20'000;  ///< records of each of the three queues
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
  /// Starts, ends and executions; events of capabilities; lines that guests logged.
  enum Lane : std::uint8_t { rows, events, lines };
  struct Queue {
    std::deque<Item> items;
    std::uint64_t taken = 0, settled = 0;
    /// Of the items, by tenant; only of what guests can make many of.
    std::unordered_map<std::string, std::size_t> shares;
    [[nodiscard]] std::uint64_t unsettled() const { return taken - settled; }
  };

  [[nodiscard]] static Lane lane_of(const Item& item);
  bool take(Item item) noexcept;
  [[nodiscard]] bool is_empty() const;
  [[nodiscard]] bool has_room(const Queue& queue, const std::string* tenant) const;
  /// Moves items to the batch until it has so many.
  static void fill(std::vector<Item>& batch, Queue& queue, std::size_t until);
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
  std::array<Queue, 3> queues_;  ///< by Lane
  bool stopping_ = false;
  SteadyTime give_up_{};
  std::thread thread_;
};

}  // namespace alga::control_plane
