#include "domain/trace_context.h"

#include <gtest/gtest.h>

#include <string>

namespace alga::domain {
namespace {

const std::string example = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

TEST(TraceContext, ReadsAndWritesTheStandardsExample) {
  auto context = TraceContext::parse(example);
  ASSERT_TRUE(context);
  EXPECT_EQ(context->trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
  EXPECT_EQ(context->parent_id, "00f067aa0ba902b7");
  EXPECT_TRUE(context->sampled);
  EXPECT_EQ(context->header(), example);
}

TEST(TraceContext, RefusesWhatIsNotValid) {
  for (const std::string& text :
       {std::string{}, example.substr(1), example + "-", example + "-x", "ff" + example.substr(2),
        "0x" + example.substr(2), "00-" + std::string(32, '0') + example.substr(35),
        example.substr(0, 36) + std::string(16, '0') + "-01", example.substr(0, 53) + "0g",
        std::string{"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"}}) {
    EXPECT_FALSE(TraceContext::parse(text)) << text;
  }
}

TEST(TraceContext, ReadsLaterVersionsAsFarAsItKnows) {
  EXPECT_TRUE(TraceContext::parse("cc" + example.substr(2) + "-what-the-future-will-be"));
  EXPECT_FALSE(TraceContext::parse("cc" + example.substr(2) + "."));
}

TEST(TraceContext, ReadsOnlyTheSampledFlag) {
  EXPECT_FALSE(TraceContext::parse(example.substr(0, 53) + "00")->sampled);
  EXPECT_FALSE(TraceContext::parse(example.substr(0, 53) + "fe")->sampled);
  EXPECT_TRUE(TraceContext::parse(example.substr(0, 53) + "ff")->sampled);
}

TEST(TraceContext, KeepsTheTraceInItsChildren) {
  SystemRandom random;
  TraceContext start = TraceContext::start(random, true);
  TraceContext child = start.child(random);
  EXPECT_TRUE(TraceContext::parse(child.header()));
  EXPECT_EQ(child.trace_id, start.trace_id);
  EXPECT_NE(child.parent_id, start.parent_id);
  EXPECT_TRUE(child.sampled);
}

TEST(TraceContext, NeverMakesAnIdOfZeros) {
  class Zeros final : public Random {
    void fill(std::span<std::uint8_t> out) override {
      for (std::uint8_t& byte : out) byte = 0;
    }
  } zeros;
  EXPECT_TRUE(TraceContext::parse(TraceContext::start(zeros, false).header()));
}

TEST(TraceSampling, TakesTheShareThatWasAskedFor) {
  SystemRandom random;
  int taken = 0;
  for (int i = 0; i < 2'000; ++i) {
    const std::string id = TraceContext::start(random, false).trace_id;
    EXPECT_TRUE(is_sampled(id, 1));
    EXPECT_FALSE(is_sampled(id, 0));
    EXPECT_EQ(is_sampled(id, 0.25), is_sampled(id, 0.25));
    taken += is_sampled(id, 0.25) ? 1 : 0;
  }
  EXPECT_GT(taken, 400);
  EXPECT_LT(taken, 600);
}

}  // namespace
}  // namespace alga::domain
