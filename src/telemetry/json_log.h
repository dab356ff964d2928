#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"

namespace alga::telemetry {

enum class LogFormat : std::uint8_t {
  json,  ///< `{"at":…,"level":…,"component":…,"message":…,…}`
  text,  ///< `2026-01-31T12:00:00.000Z info  gateway: "refused" code="…"`, for people
};

struct JsonLogOptions {
  int descriptor = 2;  ///< stays the caller's
  LogLevel level = LogLevel::info;
  LogFormat format = LogFormat::json;
  std::size_t max_queued_bytes = 4U << 20U;
  std::chrono::milliseconds linger{3};  ///< how long a line waits for others before it is written
  std::size_t max_value_bytes = 4096;   ///< of the message and of each text field
};

/// Writes one line for each call, JSON or text: `at`, `level`, `component`, `message` and the
/// fields. Callers
/// only format and queue; a thread of its own writes. When the reader of the descriptor is slow and
/// the queue is full, new lines are dropped and counted (`alga_log_dropped_lines_total`), and a
/// line says so later. Lines cannot be forged: see append_json_string(). Thread-safe.
class JsonLog final : public LogSink {
 public:
  JsonLog(JsonLogOptions options, std::shared_ptr<const Clock> clock, Metrics& metrics);
  /// Writes what is queued; gives up when the reader takes nothing for two seconds.
  ~JsonLog() override;

  [[nodiscard]] bool enabled(LogLevel level) const noexcept override {
    return level >= level_.load(std::memory_order_relaxed);
  }
  void write(LogLevel level, std::string_view component, std::string_view message,
             std::span<const LogField> fields) noexcept override;
  void set_level(LogLevel level) noexcept { level_ = level; }

  /// Waits until everything queued before has been handed to the descriptor; false at `deadline`.
  bool flush(SteadyTime deadline);

 private:
  void run();
  [[nodiscard]] std::string format_line(LogLevel level, std::string_view component,
                                        std::string_view message,
                                        std::span<const LogField> fields) const;
  bool write_out(std::string_view text);
  [[nodiscard]] std::string dropped_line(std::uint64_t lines) const;

  const JsonLogOptions options_;
  const std::shared_ptr<const Clock> clock_;
  std::atomic<LogLevel> level_;
  Counter& dropped_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable written_;
  std::string queue_;                // complete lines
  std::uint64_t queued_total_ = 0;   // bytes ever queued …
  std::uint64_t written_total_ = 0;  // … and ever written
  std::uint64_t dropped_lines_ = 0;  // since the last line that said so
  bool closed_ = false;
  std::thread thread_;
};

/// `debug`, `info`, `warn`, `error`.
[[nodiscard]] std::string_view level_name(LogLevel level);

}  // namespace alga::telemetry
