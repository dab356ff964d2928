#include "gateway/rate_limiter.h"

#include <algorithm>
#include <functional>

namespace alga::gateway {

Status RateLimiter::take(const std::string& key) {
  Shard& shard = shards_[std::hash<std::string>{}(key) % kShards];
  const SteadyTime now = clock_.steady();
  const std::scoped_lock lock(shard.mutex);
  auto found = shard.arrival.find(key);
  if (found == shard.arrival.end()) {
    if (shard.arrival.size() >= options_.max_keys / kShards) {
      std::erase_if(shard.arrival, [now](const auto& item) { return item.second <= now; });
    }
    if (shard.arrival.size() >= std::max<std::size_t>(1, options_.max_keys / kShards)) {
      return fail({Kind::unavailable, "gateway.policy_unavailable", "the rate limiter is full", 1});
    }
    found = shard.arrival.emplace(key, now).first;
  }
  const SteadyTime arrival = std::max(found->second, now);
  const auto tolerance = options_.interval * (options_.burst - 1);
  if (arrival - now > tolerance) {
    const auto wait = std::chrono::ceil<std::chrono::seconds>(arrival - now - tolerance);
    return fail({Kind::rate_limited, "gateway.rate_limited", "too many requests",
                 static_cast<std::uint32_t>(std::max<std::int64_t>(1, wait.count()))});
  }
  found->second = arrival + options_.interval;
  return {};
}

}  // namespace alga::gateway
