// Guests that hold on to the processor where no check interrupts them, or measure what they should
// not.

#include <cstring>

#include "engine/testing.h"

namespace alga::engine {
namespace {

using domain::EndClass;
using testing::EngineTest;

class BulkTest : public EngineTest, public ::testing::WithParamInterface<const char*> {};

TEST_P(BulkTest, OperationsOfTheLargestSizeEndAtTheDeadlineAndLetOthersRun) {
  auto component = load(GetParam());
  ASSERT_TRUE(component) << component.error().message;
  ASSERT_EQ(run("echo").end, EndClass::ok);
  Invocation how = invocation();
  how.limits = {.wall_ms = 300, .cpu_ms = 20'000, .memory_bytes = 256U << 20U};
  std::vector<Started> hogs;  // more than there are threads
  for (int i = 0; i < 4; ++i) hogs.push_back(start(*component, how));
  for (int i = 0; i < 5; ++i) {
    Outcome served = run("echo", invocation("other"));
    EXPECT_EQ(served.end, EndClass::ok) << served.message;
  }
  for (Started& hog : hogs) {
    Outcome outcome = hog.outcome.get();
    EXPECT_EQ(outcome.end, EndClass::wall_limit) << outcome.message;
  }
  EXPECT_EQ(metrics.count("alga_limit_hits_total{wall_time}"), 4);
}

INSTANTIATE_TEST_SUITE_P(OnEverything, BulkTest,
                         ::testing::Values("bulk-fill", "bulk-copy", "bulk-table"),
                         [](const auto& info) { return std::string(info.param + 5); });

TEST_F(EngineTest, ShowsAGuestNoFinerClockThanAMillisecondHoweverItSpins) {
  Outcome outcome = run("clock-step");
  ASSERT_EQ(outcome.end, EndClass::ok) << outcome.message;
  ASSERT_EQ(outcome.response.body.value_or("").size(), 8U);
  std::uint64_t step = 0;
  std::memcpy(&step, outcome.response.body->data(), sizeof step);
  EXPECT_GE(step, 1'000'000U) << "nanoseconds";
}

}  // namespace
}  // namespace alga::engine
