#include "runner/refusal_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/testing_metrics.h"
#include "runner/testing.h"

namespace alga::runner {
namespace {

using ::testing::HasSubstr;
using testing::RunnerHttpTest;

/// `message field=value …` of each line.
class WholeLines final : public LogSink {
 public:
  [[nodiscard]] bool enabled(LogLevel) const noexcept override { return true; }
  void write(LogLevel, std::string_view, std::string_view message,
             std::span<const LogField> fields) noexcept override {
    std::string line(message);
    for (const LogField& field : fields) {
      line += ' ' + std::string(field.key) + '=';
      if (const auto* text = std::get_if<std::string_view>(&field.value)) line += *text;
      if (const auto* number = std::get_if<std::uint64_t>(&field.value)) {
        line += std::to_string(*number);
      }
    }
    lines.push_back(std::move(line));
  }
  std::vector<std::string> lines;
};

class RefusalLogTest : public ::testing::Test {
 protected:
  void refuse(int times) {
    for (int i = 0; i < times; ++i) log_.note(peer_, 401, "runner.unauthenticated", "r1");
  }
  ManualClock clock_;
  alga::testing::CountingMetrics metrics_;
  std::shared_ptr<WholeLines> sink_ = std::make_shared<WholeLines>();
  httpd::Peer peer_{.address = "10.0.0.7", .certificate_names = {"gateway.test", "other.test"}};
  RefusalLog log_{clock_, metrics_, Logger(sink_, "runner")};
};

TEST_F(RefusalLogTest, SaysWhoWasRefusedAndWhy) {
  refuse(1);
  peer_ = {.address = "10.0.0.8"};
  log_.note(peer_, 413, "http.body_too_large", "r2");
  EXPECT_THAT(
      sink_->lines,
      ::testing::ElementsAre("request refused code=runner.unauthenticated status=401 peer=10.0.0.7 "
                             "certificate=gateway.test request_id=r1 left_out=0",
                             "request refused code=http.body_too_large status=413 peer=10.0.0.8 "
                             "certificate= request_id=r2 left_out=0"));
}

TEST_F(RefusalLogTest, AFloodIsCountedAndFillsNoLog) {
  refuse(1'000);
  EXPECT_EQ(sink_->lines.size(), 20U);
  EXPECT_EQ(metrics_.count("alga_runner_refused_total{runner.unauthenticated}"), 1'000);
  clock_.advance(std::chrono::milliseconds{999});
  refuse(1);
  EXPECT_EQ(sink_->lines.size(), 20U);
  clock_.advance(std::chrono::milliseconds{2'001});
  refuse(10);
  ASSERT_EQ(sink_->lines.size(), 23U) << "one for each second";
  EXPECT_THAT(sink_->lines[20], HasSubstr("left_out=981"));
  EXPECT_THAT(sink_->lines[21], HasSubstr("left_out=0"));
  clock_.advance(std::chrono::hours{1});
  refuse(100);
  EXPECT_EQ(sink_->lines.size(), 43U) << "a quiet hour saves up no more than twenty";
  EXPECT_THAT(sink_->lines[23], HasSubstr("left_out=7"));
}

class EarlyRefusal : public RunnerHttpTest {
 protected:
  /// The code of the newest line, if it is about a refusal.
  std::string line() {
    const auto lines = log_->lines();
    return lines.empty() || lines.back().message != "request refused" ? "" : lines.back().code;
  }
};

TEST_F(EarlyRefusal, OfAnyKindHasALine) {
  serve(drop_in());
  EXPECT_THAT(post("", body()), HasSubstr(" 401 "));
  EXPECT_EQ(line(), "runner.unauthenticated");
  EXPECT_THAT(post("", R"({"content_hash":"x"})", "/warmup"), HasSubstr(" 401 "));
  EXPECT_EQ(line(), "runner.unauthenticated");
  EXPECT_THAT(post(known, "{"), HasSubstr(" 400 "));
  EXPECT_EQ(line(), "json.malformed");
  EXPECT_THAT(post(known, body()), HasSubstr(" 200 "));
  EXPECT_EQ(line(), "runner.missing_headers");
  EXPECT_THAT(post(known, std::string(5'000, 'x'), "/warmup"), HasSubstr(" 413 "));
  EXPECT_EQ(line(), "http.body_too_large");
  EXPECT_THAT(
      httpd::exchange_raw(server_->port(),
                          "POST /v1/execute HTTP/1.1\r\nhost: x\r\nconnection: close\r\n" + routed +
                              "content-type: text/plain\r\n"
                              "content-length: 2\r\n\r\n{}"),
      HasSubstr(" 415 "));
  EXPECT_EQ(line(), "runner.not_json");
  const std::size_t before = log_->lines().size();
  EXPECT_THAT(post(routed, body()), HasSubstr(R"("status":201)"));
  EXPECT_EQ(log_->lines().size(), before + 1) << "an execution has its own line and no other";
  EXPECT_EQ(line(), "");
  role_->drain(std::chrono::steady_clock::now());
  EXPECT_THAT(post(routed, body()), HasSubstr(" 503 "));
  EXPECT_EQ(line(), "runner.draining");
  EXPECT_EQ(metrics_.count("alga_runner_refused_total{runner.unauthenticated}"), 2);
}

}  // namespace
}  // namespace alga::runner
