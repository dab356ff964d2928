#pragma once

#include <array>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/random.h"
#include "domain/ports/records.h"
#include "telemetry/record_json.h"

namespace alga::telemetry {

struct RecordSpoolOptions {
  std::string folder;                           ///< exists; ours alone
  std::uint64_t max_disk_bytes = 256U << 20U;   ///< records beyond it are dropped
  std::uint64_t max_segment_bytes = 4U << 20U;  ///< a file is removed once it has been delivered
  /// Of each kind in memory, before they are written; of log lines and events of capabilities, one
  /// tenant has a quarter at most.
  std::size_t max_queued_records = 10'000;
  std::chrono::milliseconds linger{10};  ///< a record waits so long for others
  bool sync = false;  ///< fdatasync after each write: also survives a crash of the machine
};

/// Records that wait on the local disk for their delivery, as lines of JSON in append-only files.
/// Survives a restart of the process: what was written and not acknowledged is delivered again, so
/// a record may arrive twice, with the same id. Recording never blocks: a thread of its own writes
/// in batches, `linger` after the first record of each: so much, and what `alga_records_unwritten`
/// counts, a kill of the process loses. Full or broken, it drops the newest and counts
/// (`alga_records_dropped_total`). What guests can make many of takes no room from the rest: log
/// lines have three quarters of the disk's share, events of capabilities seven eighths.
/// Thread-safe, except that one party at a time takes batches.
class RecordSpool final : public domain::RecordSink {
 public:
  struct Batch {
    std::string lines;  ///< each with its line end
    std::size_t records = 0;
    std::uint64_t segment = 0, end = 0;  ///< where it ends, for acknowledge()
  };

  /// Errors: `telemetry.spool_failed` (unavailable) when the folder cannot be used or another
  /// process uses it. `clock`, `random` and `metrics` outlive the spool.
  [[nodiscard]] static Result<std::unique_ptr<RecordSpool>> open(RecordSpoolOptions options,
                                                                 const Clock& clock, Random& random,
                                                                 Metrics& metrics, Logger log);
  /// Writes what is queued.
  ~RecordSpool() override;

  void execution(domain::ExecutionRecord record) noexcept override;
  void guest_log(domain::GuestLogLine line) noexcept override;
  void capability(domain::CapabilityEvent event) noexcept override;

  /// The oldest records that are not acknowledged, about `max_bytes` of them and at least one.
  /// Blocks until there are some; none at `deadline`. Asking again repeats the answer.
  [[nodiscard]] std::optional<Batch> next(std::size_t max_bytes, SteadyTime deadline);
  /// They have arrived and may be forgotten.
  void acknowledge(const Batch& batch);

  /// Waits until everything recorded before is on the disk; false at `deadline`.
  bool flush(SteadyTime deadline);
  /// Waits until nothing is left to deliver; false at `deadline`.
  bool wait_delivered(SteadyTime deadline);

 private:
  struct Segment {
    std::uint64_t number = 0;
    std::uint64_t size = 0;  // whole lines
  };

  RecordSpool(RecordSpoolOptions options, const Clock& clock, Random& random, Metrics& metrics,
              Logger log);
  Status recover();
  Status lock_folder();
  void read_position();
  void store_position();
  Status start_segment();
  void take(Record record) noexcept;
  /// In memory, for one more of these.
  [[nodiscard]] bool has_room(const Record& record) const;
  /// Up to how many bytes on disk a record like this is written.
  [[nodiscard]] std::uint64_t share_of(const Record& record) const;
  void run();
  void write_batch(std::vector<DeliveredRecord> batch);
  void leave_delivered_segment();
  bool append(std::string_view lines);
  void drop(std::size_t records);
  [[nodiscard]] std::string path_of(std::uint64_t number) const;
  [[nodiscard]] std::uint64_t disk_bytes() const;

  const RecordSpoolOptions options_;
  const Clock& clock_;
  Random& random_;
  Counter& dropped_;
  Gauge& waiting_bytes_;
  Gauge& unwritten_;
  const Logger log_;
  int lock_ = -1;

  mutable std::mutex mutex_;
  std::condition_variable wake_;        // records are queued, or the end
  std::condition_variable written_;     // records are on the disk, or delivered
  std::vector<DeliveredRecord> queue_;  // in the order in which they came
  std::array<std::size_t, std::variant_size_v<Record>> queued_{};  // of queue_, by kind …
  std::array<std::unordered_map<std::string, std::size_t>, std::variant_size_v<Record>>
      queued_of_;                    // … and by tenant, of what has a bound for each
  std::uint64_t queued_total_ = 0;   // records ever queued …
  std::uint64_t settled_total_ = 0;  // … and ever written or dropped
  std::deque<Segment> segments_;     // oldest first; the last one is written to
  std::uint64_t read_offset_ = 0;    // in the first segment
  bool closed_ = false;
  int descriptor_ = -1;  // of the last segment; the writer's
  std::thread thread_;
};

}  // namespace alga::telemetry
