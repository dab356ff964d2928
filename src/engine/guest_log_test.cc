#include "engine/guest_log.h"

#include <gtest/gtest.h>

#include <vector>

namespace alga::engine {
namespace {

class Lines : public domain::RecordSink {
 public:
  void execution(domain::ExecutionRecord) noexcept override {}
  void guest_log(domain::GuestLogLine line) noexcept override { lines.push_back(std::move(line)); }
  void capability(domain::CapabilityEvent) noexcept override {}
  std::vector<domain::GuestLogLine> lines;
};

class GuestLogTest : public testing::Test {
 protected:
  domain::ExecutionIdentity who{"t", "e", "i", "v", "r", ""};
  Lines lines;
  ManualClock clock;
  domain::ServerLimits limits;
};

TEST_F(GuestLogTest, MakesControlCharactersVisible) {
  EXPECT_EQ(printable("a\x1b[31mb\r\n\tc\u2028\xff\u202e€"),
            "a\\x1b[31mb\\x0d\\x0a\tc\\xe2\\x80\\xa8\\xff\\xe2\\x80\\xae€");
}

TEST_F(GuestLogTest, SplitsOutputAtNewlinesAndKeepsTheIdentity) {
  GuestLog log(who, &lines, clock, limits);
  log.stdio(2, "one\ntw");
  log.stdio(1, "out");
  log.stdio(2, "o\nthree");
  log.finish();
  ASSERT_EQ(lines.lines.size(), 4U);
  EXPECT_EQ(lines.lines[0].message, "one");
  EXPECT_EQ(lines.lines[1].message, "two");
  EXPECT_EQ(lines.lines[2].message, "out");
  EXPECT_EQ(lines.lines[2].stream, "stdout");
  EXPECT_EQ(lines.lines[3].message, "three");
  EXPECT_EQ(lines.lines[3].who.tenant, "t");
  EXPECT_TRUE(log.wrote_stderr());
}

TEST_F(GuestLogTest, CutsALongLineAndSaysSo) {
  GuestLog log(who, &lines, clock, limits);
  log.line(LogLevel::info, std::string(limits.value(domain::Limit::log_line) + 1, 'x'));
  ASSERT_EQ(lines.lines.size(), 1U);
  EXPECT_TRUE(lines.lines[0].truncated);
  EXPECT_EQ(lines.lines[0].message.size(), limits.value(domain::Limit::log_line));
}

TEST_F(GuestLogTest, AFloodIsCutOffAndCountedOnce) {
  GuestLog log(who, &lines, clock, limits);
  auto most = limits.value(domain::Limit::log_lines);
  for (std::uint64_t i = 0; i < most + 500; ++i) log.line(LogLevel::info, "x");
  log.finish();
  EXPECT_EQ(lines.lines.size(), most + 1);
  EXPECT_TRUE(lines.lines.back().message.starts_with("500 log lines"));
}

TEST_F(GuestLogTest, OutputWithoutNewlineDoesNotGrow) {
  GuestLog log(who, &lines, clock, limits);
  for (int i = 0; i < 1000; ++i) log.stdio(1, std::string(1 << 16, 'y'));
  log.finish();
  EXPECT_LE(lines.lines.front().message.size(), limits.value(domain::Limit::log_line));
}

}  // namespace
}  // namespace alga::engine
