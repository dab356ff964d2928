#include "telemetry/logged_records.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/testing_metrics.h"

namespace alga::telemetry {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

/// Each line as `level message key=value …`, of the fields that have a value.
class KeptLines final : public LogSink {
 public:
  [[nodiscard]] bool enabled(LogLevel level) const noexcept override { return level >= least; }
  void write(LogLevel level, std::string_view component, std::string_view message,
             std::span<const LogField> fields) noexcept override {
    std::string line = std::to_string(static_cast<int>(level)) + ' ' + std::string(component) +
                       ' ' + std::string(message);
    for (const LogField& field : fields) {
      if (const auto* text = std::get_if<std::string_view>(&field.value)) {
        line += ' ' + std::string(field.key) + '=' + std::string(*text);
      } else if (const auto* number = std::get_if<std::uint64_t>(&field.value)) {
        line += ' ' + std::string(field.key) + '=' + std::to_string(*number);
      }
    }
    lines.push_back(std::move(line));
  }
  LogLevel least = LogLevel::info;
  std::vector<std::string> lines;
};

class LoggedRecordsTest : public ::testing::Test {
 protected:
  void say(const std::string& tenant, const std::string& text, LogLevel level = LogLevel::info) {
    records_->guest_log({.who = {.tenant = tenant,
                                 .extension = "ext",
                                 .install = "i1",
                                 .version = "v",
                                 .request_id = "r1",
                                 .trace_id = ""},
                         .at = {},
                         .level = level,
                         .stream = "log",
                         .message = text});
  }
  void open(LoggedRecords::Options options) {
    records_ = std::make_unique<LoggedRecords>(options, clock_, metrics_, Logger(log_, "guest"));
  }
  ManualClock clock_;
  alga::testing::CountingMetrics metrics_;
  std::shared_ptr<KeptLines> log_ = std::make_shared<KeptLines>();
  std::unique_ptr<LoggedRecords> records_;
};

TEST_F(LoggedRecordsTest, SaysWhoseLineItIs) {
  open({});
  say("acme", "hello", LogLevel::warn);
  say("acme", "too quiet", LogLevel::debug);
  EXPECT_THAT(log_->lines,
              ElementsAre("2 guest log tenant=acme extension=ext install=i1 request_id=r1 "
                          "stream=log text=hello"));
}

TEST_F(LoggedRecordsTest, SaysHowAGuestFailedAndNothingOfOneThatDidNot) {
  open({});
  domain::ExecutionRecord record;
  record.who.tenant = "acme";
  record.end_class = "ok";
  records_->execution(record);
  EXPECT_THAT(log_->lines, SizeIs(0));
  record.end_class = "guest_error";
  record.author_error = "TypeError: x\n  at main";
  records_->execution(record);
  ASSERT_THAT(log_->lines, SizeIs(1));
  EXPECT_THAT(log_->lines[0], HasSubstr("author_error=TypeError: x\n  at main"));
}

TEST_F(LoggedRecordsTest, ATenantThatFloodsLosesItsOwnLines) {
  open({.lines_per_second = 10, .burst = 3});
  for (int i = 0; i < 8; ++i) say("flood", std::to_string(i));
  say("quiet", "here");
  ASSERT_THAT(log_->lines, SizeIs(5));
  EXPECT_EQ(log_->lines[3], "2 guest lines of guests were left out left_out=5");
  EXPECT_THAT(log_->lines[4], HasSubstr("tenant=quiet"));
  EXPECT_EQ(metrics_.count("alga_guest_lines_dropped_total"), 5);
  clock_.advance(std::chrono::milliseconds{100});
  say("flood", "again");
  say("flood", "and too soon");
  ASSERT_THAT(log_->lines, SizeIs(6));
  EXPECT_THAT(log_->lines[5], HasSubstr("text=again"));
}

TEST_F(LoggedRecordsTest, WhatIsTooQuietForTheLogCostsNothing) {
  open({.lines_per_second = 1, .burst = 2});
  for (int i = 0; i < 10; ++i) say("acme", "quiet", LogLevel::debug);
  say("acme", "heard");
  EXPECT_THAT(log_->lines, ElementsAre(HasSubstr("text=heard")));
  EXPECT_EQ(metrics_.count("alga_guest_lines_dropped_total"), 0);
}

TEST_F(LoggedRecordsTest, NoneMeansNone) {
  open({.lines_per_second = 0});
  say("acme", "hello");
  EXPECT_THAT(log_->lines, SizeIs(0));
  EXPECT_EQ(metrics_.count("alga_guest_lines_dropped_total"), 1);
}

}  // namespace
}  // namespace alga::telemetry
