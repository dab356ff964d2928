#include "domain/quota.h"

#include <gtest/gtest.h>

namespace alga::domain {
namespace {

using namespace std::chrono_literals;

TEST(RateLimiter, LetsABurstThroughAndThenTheRate) {
  ManualClock clock;
  RateLimiter limiter(clock, {.burst = 3, .interval = 1s});
  EXPECT_EQ(limiter.take("a").remaining, 2U);
  EXPECT_EQ(limiter.take("a").remaining, 1U);
  EXPECT_EQ(limiter.take("a").remaining, 0U);
  auto refused = limiter.take("a");
  EXPECT_FALSE(refused.allowed);
  EXPECT_EQ(refused.retry, 1s);
  clock.advance(999ms);
  EXPECT_FALSE(limiter.take("a").allowed);
  clock.advance(1ms);
  EXPECT_TRUE(limiter.take("a").allowed);
  EXPECT_FALSE(limiter.take("a").allowed);
}

TEST(RateLimiter, IsFullAgainAfterARest) {
  ManualClock clock;
  RateLimiter limiter(clock, {.burst = 3, .interval = 1s});
  for (int i = 0; i < 5; ++i) (void)limiter.take("a");
  clock.advance(1h);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(limiter.take("a").allowed);
  EXPECT_FALSE(limiter.take("a").allowed);
}

TEST(RateLimiter, RefusalsCostNothing) {
  ManualClock clock;
  RateLimiter limiter(clock, {.burst = 1, .interval = 1s});
  (void)limiter.take("a");
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(limiter.take("a").retry, 1s);
  clock.advance(1s);
  EXPECT_TRUE(limiter.take("a").allowed);
}

TEST(RateLimiter, KeepsKeysApart) {
  ManualClock clock;
  RateLimiter limiter(clock, {.burst = 1, .interval = 1s});
  EXPECT_TRUE(limiter.take("a").allowed);
  EXPECT_TRUE(limiter.take("b").allowed);
  EXPECT_FALSE(limiter.take("a").allowed);
}

TEST(RateLimiter, ForgetsKeysAtRestAndRefusesNewOnesWhenFull) {
  ManualClock clock;
  RateLimiter limiter(clock, {.burst = 1, .interval = 1s}, 2);
  EXPECT_TRUE(limiter.take("a").allowed);
  EXPECT_TRUE(limiter.take("b").allowed);
  EXPECT_FALSE(limiter.take("c").allowed);
  EXPECT_EQ(limiter.keys(), 2U);
  clock.advance(1s);
  EXPECT_TRUE(limiter.take("c").allowed);
  EXPECT_LE(limiter.keys(), 2U);
}

TEST(RateLimiter, SaysWhenToComeBackInWholeSeconds) {
  ManualClock clock;
  RateLimiter limiter(clock, {.burst = 1, .interval = 1500ms});
  EXPECT_TRUE(limiter.admit("a"));
  Status refused = limiter.admit("a");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, "quota.rate_limited");
  EXPECT_EQ(refused.error().retry_after_s, 2U);
}

TEST(RateLimiter, RefusesEverythingWithoutABurst) {
  ManualClock clock;
  RateLimiter limiter(clock, {.burst = 0, .interval = 1s});
  EXPECT_FALSE(limiter.take("a").allowed);
  EXPECT_EQ(limiter.keys(), 0U);
}

TEST(RateLimiter, TakesARateOfItsOwn) {
  ManualClock clock;
  RateLimiter limiter(clock, {.burst = 1, .interval = 1s});
  for (int i = 0; i < 5; ++i) {
    EXPECT_TRUE(limiter.take("big", {.burst = 5, .interval = 1s}).allowed);
  }
  EXPECT_FALSE(limiter.take("big", {.burst = 5, .interval = 1s}).allowed);
}

}  // namespace
}  // namespace alga::domain
