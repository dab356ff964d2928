#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <unordered_map>

#include "base/clock.h"
#include "base/result.h"

namespace alga::gateway {

/// GCRA (the virtual scheduling form of ITU-T I.371): `burst` requests at once, then one every
/// `interval`. One key is one (tenant, extension). Bounded: keys that have recovered are forgotten;
/// when even then there is no room, requests are refused. Thread-safe.
class RateLimiter {
 public:
  struct Options {
    std::uint32_t burst = 60;
    std::chrono::milliseconds interval{1'000};
    std::size_t max_keys = 200'000;
  };
  /// `clock` outlives the limiter.
  RateLimiter(Options options, const Clock& clock) : options_(options), clock_(clock) {}

  /// Errors: `gateway.rate_limited` with the seconds to wait, `gateway.policy_unavailable`.
  Status take(const std::string& key);

 private:
  static constexpr std::size_t kShards = 16;
  struct Shard {
    std::mutex mutex;
    std::unordered_map<std::string, SteadyTime> arrival;  ///< theoretical arrival time
  };
  const Options options_;
  const Clock& clock_;
  std::array<Shard, kShards> shards_;
};

}  // namespace alga::gateway
