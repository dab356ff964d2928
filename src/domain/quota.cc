#include "domain/quota.h"

#include <algorithm>

namespace alga::domain {

RateLimiter::RateLimiter(const Clock& clock, Rate rate, std::size_t max_keys)
    : clock_(clock), rate_(rate), max_keys_(max_keys) {}

bool RateLimiter::make_room(SteadyTime now) {
  if (arrivals_.size() < max_keys_) return true;
  // A sweep walks all keys: at most ten a second, however many strangers knock.
  if (now < next_sweep_) return false;
  next_sweep_ = now + std::chrono::milliseconds{100};
  std::erase_if(arrivals_, [&](const auto& entry) { return entry.second <= now; });
  return arrivals_.size() < max_keys_;
}

RateLimiter::Decision RateLimiter::take(const std::string& key, const Rate& rate) {
  SteadyTime now = clock_.steady();
  std::scoped_lock lock(mutex_);
  if (rate.burst == 0) return {.retry = rate.interval};
  auto found = arrivals_.find(key);
  if (found == arrivals_.end() && !make_room(now)) return {.retry = rate.interval};

  SteadyTime arrival = found == arrivals_.end() ? now : std::max(found->second, now);
  std::chrono::nanoseconds tolerance = rate.interval * (rate.burst - 1);
  if (arrival - now > tolerance) return {.retry = arrival - now - tolerance};

  SteadyTime next = arrival + std::chrono::duration_cast<SteadyTime::duration>(rate.interval);
  arrivals_.insert_or_assign(key, next);
  std::chrono::nanoseconds room = rate.interval * rate.burst - (next - now);
  auto remaining = rate.interval.count() == 0 ? rate.burst : room / rate.interval;
  return {.allowed = true, .remaining = static_cast<std::uint32_t>(remaining)};
}

Status RateLimiter::admit(const std::string& key) {
  Decision decision = take(key);
  if (decision.allowed) return {};
  auto seconds = std::chrono::ceil<std::chrono::seconds>(decision.retry).count();
  Error error{Kind::rate_limited, "quota.rate_limited", "too many requests"};
  error.retry_after_s = static_cast<std::uint32_t>(std::clamp<std::int64_t>(seconds, 1, 3600));
  return fail(std::move(error));
}

std::size_t RateLimiter::keys() const {
  std::scoped_lock lock(mutex_);
  return arrivals_.size();
}

}  // namespace alga::domain
