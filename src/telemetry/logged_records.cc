#include "telemetry/logged_records.h"

#include <chrono>
#include <exception>
#include <utility>

namespace alga::telemetry {
namespace {

domain::Rate rate_of(const LoggedRecords::Options& options) {
  if (options.lines_per_second == 0) return {.burst = 0};
  return {.burst = options.burst,
          .interval = std::chrono::nanoseconds{std::chrono::seconds{1}} / options.lines_per_second};
}

}  // namespace

LoggedRecords::LoggedRecords(Options options, const Clock& clock, Metrics& metrics, Logger log)
    : rate_(clock, rate_of(options)),
      dropped_(metrics.counter("alga_guest_lines_dropped_total",
                               "Lines of guests that this process did not log: their tenant had "
                               "more than it may")),
      log_(std::move(log)) {}

bool LoggedRecords::may_write(LogLevel level, const std::string& tenant) noexcept {
  if (!log_.enabled(level)) return false;
  bool allowed = false;
  try {
    allowed = rate_.take(tenant).allowed;
  } catch (const std::exception&) {
    // No memory for a tenant that was not known: its line is one of those left out.
  }
  if (!allowed) {
    dropped_.add();
    ++left_out_;
  } else if (log_.enabled(LogLevel::warn)) {
    if (const std::uint64_t missing = left_out_.exchange(0); missing != 0) {
      log_.warn("lines of guests were left out", {{"left_out", missing}});
    }
  }
  return allowed;
}

void LoggedRecords::guest_log(domain::GuestLogLine line) noexcept {
  if (!may_write(line.level, line.who.tenant)) return;
  log_.emit(line.level, "log",
            {{"tenant", line.who.tenant},
             {"extension", line.who.extension},
             {"install", line.who.install},
             {"request_id", line.who.request_id},
             {"stream", line.stream},
             {"text", line.message},
             {"truncated", line.truncated}});
}

void LoggedRecords::execution(domain::ExecutionRecord record) noexcept {
  if (record.author_error.empty() || !may_write(LogLevel::info, record.who.tenant)) return;
  log_.info("failed", {{"tenant", record.who.tenant},
                       {"extension", record.who.extension},
                       {"install", record.who.install},
                       {"request_id", record.who.request_id},
                       {"end_class", record.end_class},
                       {"code", record.code},
                       {"author_error", record.author_error}});
}

}  // namespace alga::telemetry
