#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <thread>

#include "json/parse.h"
#include "telemetry/json_log.h"
#include "telemetry/json_text.h"
#include "telemetry/process_metrics.h"
#include "telemetry/prometheus_metrics.h"

namespace alga::telemetry {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::Not;

std::string quoted(std::string_view text, std::size_t limit = 1000) {
  std::string out;
  append_json_string(out, text, limit);
  return out;
}

TEST(JsonText, CannotHarmATerminalOrForgeALine) {
  EXPECT_EQ(quoted("a\"b\\c"), R"("a\"b\\c")");
  EXPECT_EQ(quoted("\r\n\t\x1b[2J\x07"), R"("\r\n\t\u001b[2J\u0007")");
  EXPECT_EQ(quoted("\x7f"), R"("\u007f")");
  EXPECT_EQ(quoted("\xc2\x9b"), R"("\u009b")");
  EXPECT_EQ(quoted("\xe2\x80\xa8\xe2\x80\xae"), R"("\u2028\u202e")");
  EXPECT_EQ(quoted(std::string_view("\0", 1)), R"("\u0000")");
  EXPECT_EQ(quoted("caf\xc3\xa9 \xf0\x9f\x98\x80"), "\"caf\xc3\xa9 \xf0\x9f\x98\x80\"");
}

TEST(JsonText, ReplacesWhatIsNotUtf8AndCutsAtCharacters) {
  EXPECT_EQ(quoted("a\xff"
                   "b"),
            "\"a\xef\xbf\xbd"
            "b\"");
  EXPECT_EQ(quoted("\xe2\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\"");
  EXPECT_EQ(quoted("ab\xc3\xa9", 3), "\"ab\xe2\x80\xa6\"");
}

class JsonLogTest : public ::testing::Test {
 protected:
  JsonLogTest() { EXPECT_EQ(::pipe2(pipe_, O_CLOEXEC), 0); }
  ~JsonLogTest() override {
    ::close(pipe_[0]);
    if (pipe_[1] >= 0) ::close(pipe_[1]);
  }
  std::unique_ptr<JsonLog> make(JsonLogOptions options = {}) {
    options.descriptor = pipe_[1];
    return std::make_unique<JsonLog>(options, std::make_shared<ManualClock>(), metrics_);
  }
  std::string read_all() {
    ::close(pipe_[1]);
    pipe_[1] = -1;
    std::string text;
    char piece[65536];
    for (ssize_t got = 0; (got = ::read(pipe_[0], piece, sizeof piece)) > 0;) {
      text.append(piece, static_cast<std::size_t>(got));
    }
    return text;
  }
  int pipe_[2] = {-1, -1};
  PrometheusMetrics metrics_;
};

TEST_F(JsonLogTest, WritesTextForPeopleThatCannotBeForgedEither) {
  {
    std::shared_ptr<JsonLog> sink = make({.format = LogFormat::text});
    const Logger log(sink, "runner");
    log.warn("stored\nfake line", {{"tenant", "t\x1b[2J"}, {"bytes", 42}, {"ok", true}});
  }
  const std::string text = read_all();
  EXPECT_THAT(text, HasSubstr(R"(Z warn  runner: "stored\nfake line" tenant="t\u001b[2J" )"
                              R"(bytes=42 ok=true)"));
  EXPECT_EQ(std::ranges::count(text, '\n'), 1);
}

TEST_F(JsonLogTest, WritesOneObjectPerLine) {
  {
    std::shared_ptr<JsonLog> sink = make();
    const Logger log(sink, "runner");
    log.info("bundle \"stored\"\nfake", {{"tenant", "t1"},
                                         {"bytes", 42},
                                         {"ratio", 0.5},
                                         {"ok", true},
                                         {"nan", std::nan("")},
                                         {"n", -1}});
    log.debug("not asked for");
    EXPECT_TRUE(sink->flush(std::chrono::steady_clock::now() + 10s));
  }
  EXPECT_EQ(read_all(),
            R"({"at":"2027-01-15T08:00:00.000Z","level":"info","component":"runner",)"
            R"("message":"bundle \"stored\"\nfake","tenant":"t1","bytes":42,"ratio":0.5,)"
            R"("ok":true,"nan":null,"n":-1})"
            "\n");
}

TEST_F(JsonLogTest, BoundsEachValue) {
  make({.max_value_bytes = 10})->write(LogLevel::warn, "c", std::string(1000, 'x'), {});
  EXPECT_THAT(read_all(), HasSubstr("\"xxxxxxxxxx\xe2\x80\xa6\""));
}

TEST_F(JsonLogTest, DropsAndCountsWhenTheReaderIsSlow) {
  ::fcntl(pipe_[1], F_SETPIPE_SZ, 4096);
  auto sink = make({.max_queued_bytes = 10'000});
  const std::string text(500, 'x');
  for (int i = 0; i < 200; ++i) sink->write(LogLevel::info, "c", text, {});
  EXPECT_THAT(metrics_.serialize(), Not(HasSubstr("alga_log_dropped_lines_total 0\n")));
  std::string received;
  std::thread reader([&] {
    char piece[4096];
    for (ssize_t got = 0; (got = ::read(pipe_[0], piece, sizeof piece)) > 0;) {
      received.append(piece, static_cast<std::size_t>(got));
    }
  });
  EXPECT_TRUE(sink->flush(std::chrono::steady_clock::now() + 10s));
  sink->write(LogLevel::info, "c", "after", {});
  sink.reset();
  ::close(std::exchange(pipe_[1], -1));
  reader.join();
  EXPECT_THAT(received, HasSubstr("log lines were dropped"));
  EXPECT_THAT(received, HasSubstr("after"));
  std::string_view rest = received;
  while (!rest.empty()) {  // every line is whole
    const std::size_t end = rest.find('\n');
    ASSERT_NE(end, std::string_view::npos);
    EXPECT_TRUE(json::parse(rest.substr(0, end)).has_value());
    rest.remove_prefix(end + 1);
  }
}

TEST_F(JsonLogTest, KeepsLinesOfManyThreadsApart) {
  std::string received;
  std::thread reader([&] {
    received = [&] {
      std::string text;
      char piece[65536];
      for (ssize_t got = 0; (got = ::read(pipe_[0], piece, sizeof piece)) > 0;) {
        text.append(piece, static_cast<std::size_t>(got));
      }
      return text;
    }();
  });
  {
    std::shared_ptr<JsonLog> sink = make();
    std::vector<std::thread> writers;
    for (int t = 0; t < 4; ++t) {
      writers.emplace_back([&] {
        for (int i = 0; i < 250; ++i) Logger(sink, "c").info("line", {{"i", i}});
      });
    }
    for (std::thread& writer : writers) writer.join();
  }
  ::close(std::exchange(pipe_[1], -1));
  reader.join();
  EXPECT_EQ(std::ranges::count(received, '\n'), 1000);
}

TEST(PrometheusMetrics, KeepsOneSeriesPerNameAndLabels) {
  PrometheusMetrics metrics;
  metrics.counter("alga_things_total", "Things", {{"kind", "a"}}).add();
  metrics.counter("alga_things_total", "Things", {{"kind", "a"}}).add(2);
  metrics.counter("alga_things_total", "Things", {{"kind", "b\"\n"}}).add();
  metrics.gauge("alga_level", "Level").set(4);
  metrics.gauge("alga_level", "Level").add(-1);
  const std::array<double, 2> buckets{0.1, 1};
  metrics.histogram("alga_wait_seconds", "Wait", buckets).observe(0.5);
  const std::string text = metrics.serialize();
  EXPECT_THAT(text, HasSubstr("# TYPE alga_things_total counter"));
  EXPECT_THAT(text, HasSubstr("alga_things_total{kind=\"a\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("alga_things_total{kind=\"b\\\"\\n\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("alga_level 3\n"));
  EXPECT_THAT(text, HasSubstr("alga_wait_seconds_bucket{le=\"0.1\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("alga_wait_seconds_bucket{le=\"1\"} 1\n"));
}

TEST(PrometheusMetrics, FoldsLabelValuesFromAnOpenSet) {
  PrometheusMetrics metrics(3);
  for (int i = 0; i < 100; ++i) {
    metrics.counter("alga_open_total", "Open", {{"id", std::to_string(i)}}).add();
  }
  const std::string text = metrics.serialize();
  EXPECT_THAT(text, HasSubstr("alga_open_total{id=\"2\"} 1\n"));
  EXPECT_THAT(text, Not(HasSubstr("alga_open_total{id=\"3\"}")));
  EXPECT_THAT(text, HasSubstr("alga_open_total{id=\"other\"} 97\n"));
  EXPECT_THAT(text, HasSubstr("alga_metrics_folded_series_total 97\n"));
}

/// The value of a series without labels; negative when it is not there.
double value_of(const std::string& text, const std::string& name) {
  const std::size_t at = text.find("\n" + name + " ");
  return at == std::string::npos ? -1 : std::stod(text.substr(at + name.size() + 2));
}

TEST(PrometheusMetrics, TellsWhatTheProcessUses) {
  PrometheusMetrics metrics;
  const std::string before = metrics.serialize();
  EXPECT_GT(value_of(before, "process_resident_memory_bytes"), 1e6);
  EXPECT_GT(value_of(before, "process_virtual_memory_bytes"),
            value_of(before, "process_resident_memory_bytes"));
  EXPECT_GE(value_of(before, "process_open_fds"), 3);
  EXPECT_GT(value_of(before, "process_max_fds"), value_of(before, "process_open_fds"));
  EXPECT_GE(value_of(before, "process_threads"), 1);
  EXPECT_THAT(before, HasSubstr("# TYPE process_cpu_seconds_total counter"));

  std::vector<char> touched(96U << 20U, 'x');
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe(pipe.data()), 0);
  const std::string after = metrics.serialize();
  EXPECT_GT(value_of(after, "process_resident_memory_bytes"),
            value_of(before, "process_resident_memory_bytes") + static_cast<double>(64U << 20U))
      << touched.back();
  EXPECT_EQ(value_of(after, "process_open_fds"), value_of(before, "process_open_fds") + 2);
  ::close(pipe[0]);
  ::close(pipe[1]);
}

TEST(PrometheusMetrics, KnowsWhenTheProcessBegan) {
  const auto use = read_process_use();
  ASSERT_TRUE(use);
  const double now = static_cast<double>(::time(nullptr));
  EXPECT_NEAR(use->start_seconds + process_age().count(), now, 60);
  EXPECT_GE(process_age().count(), 0);
  EXPECT_LT(process_age().count(), 24 * 3600);
}

TEST(PrometheusMetricsDeathTest, RefusesOneNameForTwoKinds) {
  PrometheusMetrics metrics;
  metrics.counter("alga_x", "X");
  EXPECT_DEATH(metrics.gauge("alga_x", "X"), "");
}

}  // namespace
}  // namespace alga::telemetry
