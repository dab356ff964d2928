#pragma once

#include <atomic>
#include <cstdint>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "domain/ports/records.h"
#include "domain/quota.h"

namespace alga::telemetry {

/// Records of a process that has nobody to deliver them to: what guests log and how they failed
/// become lines of the process's own log, for whoever runs it. What else an execution did stands
/// there already (`execution`, `capability`). Each tenant may write so many lines in a second; the
/// rest is dropped and counted (`alga_guest_lines_dropped_total`), and a line before the next one
/// says how many of all tenants are missing. Thread-safe.
class LoggedRecords final : public domain::RecordSink {
 public:
  struct Options {
    std::uint32_t lines_per_second = 100;  ///< of one tenant; 0: none are written
    std::uint32_t burst = 1'000;           ///< more that may come at once
  };
  /// Clock and metrics outlive the object.
  LoggedRecords(Options options, const Clock& clock, Metrics& metrics, Logger log);

  void execution(domain::ExecutionRecord record) noexcept override;
  void guest_log(domain::GuestLogLine line) noexcept override;
  void capability(domain::CapabilityEvent) noexcept override {}

 private:
  [[nodiscard]] bool may_write(LogLevel level, const std::string& tenant) noexcept;

  domain::RateLimiter rate_;
  Counter& dropped_;
  const Logger log_;
  std::atomic<std::uint64_t> left_out_ = 0;  ///< since the last line
};

}  // namespace alga::telemetry
