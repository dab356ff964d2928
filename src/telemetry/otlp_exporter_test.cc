#include "telemetry/otlp_exporter.h"

#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <condition_variable>
#include <mutex>

#include "telemetry/prometheus_metrics.h"

namespace alga::telemetry {
namespace {

using std::chrono::milliseconds;

domain::Span span(const std::string& id) {
  return {.trace_id = std::string(32, 'a'),
          .span_id = id,
          .parent_id = {},
          .name = "execute",
          .kind = domain::Span::Kind::server,
          .start = WallTime{milliseconds{1'000}},
          .start_offset_us = 7,
          .duration_us = 25,
          .attributes = {{"tenant", "t1"}},
          .failed = true};
}

/// A collector that takes or refuses, and waits while it is told to.
class Collector {
 public:
  OtlpExporter::Send send() {
    return [this](const std::string& body) -> Status {
      std::unique_lock lock(mutex_);
      ++calls_;
      changed_.notify_all();
      changed_.wait(lock, [this] { return !held_; });
      if (refusal_) return fail(*refusal_, "test.refused", "no");
      const auto parsed = boost::json::parse(body);
      taken_ += parsed.at_pointer("/resourceSpans/0/scopeSpans/0/spans").as_array().size();
      changed_.notify_all();
      return {};
    };
  }
  void hold(bool held) {
    const std::scoped_lock lock(mutex_);
    held_ = held;
    changed_.notify_all();
  }
  void refuse(Kind kind) { refusal_ = kind; }
  bool wait_for(std::size_t spans) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(10), [&] { return taken_ >= spans; });
  }
  bool wait_for_calls(int calls) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(10), [&] { return calls_ >= calls; });
  }
  [[nodiscard]] std::size_t taken() const { return taken_; }
  [[nodiscard]] int calls() const { return calls_; }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool held_ = false;
  std::optional<Kind> refusal_;
  std::size_t taken_ = 0;
  int calls_ = 0;
};

TEST(Otlp, IsWrittenAsTheSpecificationHasIt) {
  auto child = span("bbbbbbbbbbbbbbbb");
  child.parent_id = "cccccccccccccccc";
  child.kind = domain::Span::Kind::internal;
  child.failed = false;
  const auto json = boost::json::parse(encode_otlp({span("dddddddddddddddd"), child}, "algad"));
  EXPECT_EQ(json.at_pointer("/resourceSpans/0/resource/attributes/0/value/stringValue"), "algad");
  const auto& spans = json.at_pointer("/resourceSpans/0/scopeSpans/0/spans").as_array();
  EXPECT_EQ(spans.at(0).at("traceId").as_string().size(), 32U);
  EXPECT_EQ(spans.at(0).at("kind"), 2);
  EXPECT_EQ(spans.at(0).at("startTimeUnixNano"), "1000007000");
  EXPECT_EQ(spans.at(0).at("endTimeUnixNano"), "1000032000");
  EXPECT_EQ(spans.at(0).at_pointer("/attributes/0/key"), "tenant");
  EXPECT_EQ(spans.at(0).at_pointer("/status/code"), 2);
  EXPECT_FALSE(spans.at(0).as_object().contains("parentSpanId"));
  EXPECT_EQ(spans.at(1).at("parentSpanId"), "cccccccccccccccc");
  EXPECT_FALSE(spans.at(1).as_object().contains("status"));
}

TEST(Otlp, GoesToTheUsualPathUnlessTheUrlHasOne) {
  EXPECT_EQ(otlp_traces_url("http://c:4318"), "http://c:4318/v1/traces");
  EXPECT_EQ(otlp_traces_url("http://c:4318/"), "http://c:4318/v1/traces");
  EXPECT_EQ(otlp_traces_url("https://c/otlp/v1/traces"), "https://c/otlp/v1/traces");
}

TEST(OtlpExporter, SendsAFullBatchAtOnceAndTheRestAtItsEnd) {
  PrometheusMetrics metrics;
  Collector collector;
  {
    OtlpExporter exporter({.max_batch = 3, .interval = std::chrono::hours(1)}, collector.send(),
                          metrics, {});
    for (int i = 0; i < 4; ++i) exporter.span(span("1"));
    EXPECT_TRUE(collector.wait_for(3)) << "a full batch does not wait for the interval";
  }
  EXPECT_EQ(collector.taken(), 4U);
}

TEST(OtlpExporter, DropsTheNewestWhenFull) {
  PrometheusMetrics metrics;
  Collector collector;
  collector.hold(true);
  {
    OtlpExporter exporter({.max_queued = 2, .max_batch = 1, .interval = milliseconds(1)},
                          collector.send(), metrics, {});
    exporter.span(span("1"));
    ASSERT_TRUE(collector.wait_for_calls(1));
    for (int i = 0; i < 5; ++i) exporter.span(span("2"));
    collector.hold(false);
  }
  EXPECT_EQ(collector.taken(), 3U);
  EXPECT_NE(metrics.serialize().find("alga_spans_dropped_total 3"), std::string::npos);
}

TEST(OtlpExporter, GivesABatchUpAfterThreeAttemptsOrARefusal) {
  PrometheusMetrics metrics;
  Collector away;
  away.refuse(Kind::unavailable);
  Collector strict;
  strict.refuse(Kind::invalid);
  const OtlpExporter::Options options{
      .max_batch = 1, .interval = milliseconds(1), .retry_pause = milliseconds(1)};
  OtlpExporter to_away(options, away.send(), metrics, {});
  OtlpExporter to_strict(options, strict.send(), metrics, {});
  to_away.span(span("1"));
  to_strict.span(span("1"));
  EXPECT_TRUE(away.wait_for_calls(3));
  to_strict.span(span("2"));
  EXPECT_TRUE(strict.wait_for_calls(2));
  EXPECT_EQ(away.calls(), 3);
  EXPECT_EQ(strict.calls(), 2) << "one for each";
}

}  // namespace
}  // namespace alga::telemetry
