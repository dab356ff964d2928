#pragma once

#include <atomic>
#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace alga {

/// Wall-clock time, UTC, as the records and tokens carry it.
using WallTime = std::chrono::sys_time<std::chrono::milliseconds>;
/// Time that never jumps; for deadlines and durations.
using SteadyTime = std::chrono::steady_clock::time_point;

/// Where time comes from. Thread-safe. Injected, so that tests decide what time it is.
class Clock {
 public:
  virtual ~Clock() = default;
  [[nodiscard]] virtual WallTime wall() const = 0;
  [[nodiscard]] virtual SteadyTime steady() const = 0;
};

class SystemClock final : public Clock {
 public:
  [[nodiscard]] WallTime wall() const override {
    return std::chrono::time_point_cast<std::chrono::milliseconds>(
        std::chrono::system_clock::now());
  }
  [[nodiscard]] SteadyTime steady() const override { return std::chrono::steady_clock::now(); }
};

/// A clock that stands still until told otherwise; for tests.
class ManualClock final : public Clock {
 public:
  explicit ManualClock(WallTime start = WallTime{std::chrono::seconds{1'800'000'000}})
      : start_(start) {}
  [[nodiscard]] WallTime wall() const override {
    return start_ + std::chrono::milliseconds{elapsed_.load()};
  }
  [[nodiscard]] SteadyTime steady() const override {
    return SteadyTime{} + std::chrono::milliseconds{elapsed_.load()};
  }
  void advance(std::chrono::milliseconds by) { elapsed_ += by.count(); }

 private:
  WallTime start_;
  std::atomic<std::int64_t> elapsed_{0};
};

/// RFC 3339 in UTC with milliseconds: `2026-11-21T10:00:00.123Z`.
[[nodiscard]] std::string format_rfc3339(WallTime time);
/// Accepts any offset and up to nine fractional digits; none when it is not a date-time.
[[nodiscard]] std::optional<WallTime> parse_rfc3339(std::string_view text);

}  // namespace alga
