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

TEST_F(GuestLogTest, MasksSecretsInEveryStreamAlsoWhereALineIsCut) {
  auto secrets = domain::SecretMap::from_pairs({{"key", "hunter2-hunter2"}});
  GuestLog log(who, &lines, clock, limits,
               std::make_shared<const domain::SecretMap>(std::move(*secrets)));
  log.line(LogLevel::info, "the key is hunter2-hunter2");
  log.stdio(1, "hunter2-");
  log.stdio(1, "hunter2\n");
  log.stdio(2, "hunter2-hunter2");
  const auto most = limits.value(domain::Limit::log_line);
  log.line(LogLevel::info, std::string(most - 4, 'x') + "hunter2-hunter2");
  log.finish();
  ASSERT_EQ(lines.lines.size(), 4U);
  EXPECT_EQ(lines.lines[0].message, "the key is [secret]");
  EXPECT_EQ(lines.lines[1].message, "[secret]");
  EXPECT_TRUE(lines.lines[2].message.ends_with("x[sec")) << "the cut is behind the mask";
  EXPECT_EQ(lines.lines[3].message, "[secret]");
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
  EXPECT_EQ(log.hits(), std::set{domain::Limit::log_lines});
}

TEST_F(GuestLogTest, TellsWhichLimitsCutIt) {
  GuestLog bytes(who, &lines, clock, limits);
  const std::string line(limits.value(domain::Limit::log_line), 'x');
  const auto most = limits.value(domain::Limit::log_bytes) / line.size();
  for (std::uint64_t i = 0; i < most; ++i) bytes.line(LogLevel::info, line);
  EXPECT_TRUE(bytes.hits().empty());
  bytes.line(LogLevel::info, line);
  EXPECT_EQ(bytes.hits(), std::set{domain::Limit::log_bytes});
  GuestLog cut(who, &lines, clock, limits);
  cut.line(LogLevel::info, line + "x");
  EXPECT_EQ(cut.hits(), std::set{domain::Limit::log_line});
  GuestLog output(who, &lines, clock, limits);
  output.stdio(1, std::string(limits.value(domain::Limit::stdio_bytes) + 1, '\n'));
  EXPECT_TRUE(output.hits().contains(domain::Limit::stdio_bytes));
}

TEST_F(GuestLogTest, OutputWithoutNewlineDoesNotGrow) {
  GuestLog log(who, &lines, clock, limits);
  for (int i = 0; i < 1000; ++i) log.stdio(1, std::string(1 << 16, 'y'));
  log.finish();
  EXPECT_LE(lines.lines.front().message.size(), limits.value(domain::Limit::log_line));
}

}  // namespace
}  // namespace alga::engine
