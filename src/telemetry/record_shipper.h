#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "base/log.h"
#include "base/metrics.h"
#include "telemetry/record_spool.h"

namespace alga::telemetry {

/// Brings the records of a spool to their destination, batch after batch, on a thread of its own.
/// A delivery that fails is tried again, from 0.2 s up to 10 s apart; one that is refused for what
/// it contains (Kind::invalid, unprocessable or too_large) is dropped and counted
/// (`alga_records_refused_total`), because it would stop everything behind it for ever.
class RecordShipper {
 public:
  /// Blocks; answers success once the batch is safe at the other side.
  using Deliver = std::function<Status(const RecordSpool::Batch&)>;

  /// `spool` and `metrics` outlive the shipper.
  RecordShipper(RecordSpool& spool, Deliver deliver, Metrics& metrics, Logger log,
                std::size_t batch_bytes = 256U << 10U);
  /// Stops after the current attempt; what is left waits for the next start.
  ~RecordShipper();
  RecordShipper(const RecordShipper&) = delete;
  RecordShipper& operator=(const RecordShipper&) = delete;

 private:
  void run();
  bool pause(std::chrono::milliseconds duration);
  [[nodiscard]] bool stopping();

  RecordSpool& spool_;
  const Deliver deliver_;
  Counter& delivered_;
  Counter& refused_;
  const Logger log_;
  const std::size_t batch_bytes_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace alga::telemetry
