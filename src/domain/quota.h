#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <unordered_map>

#include "base/clock.h"
#include "base/result.h"

namespace alga::domain {

/// `burst` at once, then one every `interval`.
struct Rate {
  std::uint32_t burst = 60;
  std::chrono::nanoseconds interval = std::chrono::seconds{1};
};

/// Limits rates by key with GCRA (ITU-T I.371): one timestamp a key, no background work. Bounded:
/// keys that are back at rest are forgotten; when all of `max_keys` are busy, a new key is refused
/// rather than let through. Any thread.
class RateLimiter {
 public:
  struct Decision {
    bool allowed = false;
    std::uint32_t remaining = 0;        ///< how many more would pass right now
    std::chrono::nanoseconds retry{0};  ///< until the next one passes; 0 when allowed
  };

  /// `clock` must outlive the limiter. `rate.burst` of 0 refuses everything.
  RateLimiter(const Clock& clock, Rate rate, std::size_t max_keys = 100'000);

  [[nodiscard]] Decision take(const std::string& key) { return take(key, rate_); }
  /// With a rate of its own, such as an override of a tenant; the same key should keep its rate.
  [[nodiscard]] Decision take(const std::string& key, const Rate& rate);

  /// take() as a Status: `quota.rate_limited` with `retry_after_s` rounded up.
  [[nodiscard]] Status admit(const std::string& key);

  [[nodiscard]] std::size_t keys() const;

 private:
  [[nodiscard]] bool make_room(SteadyTime now);

  const Clock& clock_;
  const Rate rate_;
  const std::size_t max_keys_;
  mutable std::mutex mutex_;
  /// Theoretical arrival time of the next conforming request.
  std::unordered_map<std::string, SteadyTime> arrivals_;
  SteadyTime next_sweep_{};
};

}  // namespace alga::domain
