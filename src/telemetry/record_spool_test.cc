#include "telemetry/record_spool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>

#include "base/testing_folder.h"
#include "telemetry/prometheus_metrics.h"
#include "telemetry/record_shipper.h"

namespace alga::telemetry {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

SteadyTime soon() { return std::chrono::steady_clock::now() + 10s; }
SteadyTime now() { return std::chrono::steady_clock::now(); }

domain::ExecutionIdentity who() {
  return {.tenant = "t1",
          .extension = "e1",
          .install = "i1",
          .version = "v1",
          .request_id = "r1",
          .trace_id = "0af7"};
}

domain::ExecutionRecord execution(std::string id) {
  domain::ExecutionRecord record;
  record.id = std::move(id);
  record.who = who();
  record.started = WallTime{1'800'000'000'123ms};
  record.finished = WallTime{1'800'000'001'000ms};
  record.end_class = "cpu_limit";
  record.code = "engine.cpu_limit";
  record.status = 504;
  record.config_version = "3";
  record.secrets_version = "4";
  record.queue_us = 1;
  record.cold_us = 2;
  record.instantiate_us = 3;
  record.call_us = 4;
  record.cpu_us = 5;
  record.peak_memory_bytes = 6;
  record.host_bytes = 7;
  record.egress_bytes = 8;
  record.host_calls = 9;
  record.response_bytes = 10;
  record.method = "POST";
  record.path = "/a/b";
  record.author_error = "boom\n  at handler (src/index.ts:3:7)";
  return record;
}

TEST(RecordJson, RoundTripsEveryField) {
  const DeliveredRecord before{"id-1", execution("id-1")};
  const std::string line = encode_record(before);
  EXPECT_EQ(line.find('\n'), std::string::npos);
  auto after = decode_record(line);
  ASSERT_TRUE(after.has_value()) << after.error().message;
  EXPECT_EQ(encode_record(*after), line);
  const auto& record = std::get<domain::ExecutionRecord>(after->record);
  EXPECT_EQ(record.id, "id-1");
  EXPECT_EQ(record.started, WallTime{1'800'000'000'123ms});
  EXPECT_EQ(record.author_error, "boom\n  at handler (src/index.ts:3:7)");

  const DeliveredRecord log{"id-2", domain::GuestLogLine{.who = who(),
                                                         .at = WallTime{5ms},
                                                         .level = LogLevel::warn,
                                                         .stream = "stderr",
                                                         .message = "caf\xc3\xa9 \xff",
                                                         .truncated = true}};
  auto line_after = decode_record(encode_record(log));
  ASSERT_TRUE(line_after.has_value());
  const auto& guest = std::get<domain::GuestLogLine>(line_after->record);
  EXPECT_EQ(guest.message, "caf\xc3\xa9 \xef\xbf\xbd");
  EXPECT_EQ(guest.level, LogLevel::warn);
  EXPECT_TRUE(guest.truncated);

  const DeliveredRecord event{"id-3", domain::CapabilityEvent{.who = who(),
                                                              .at = WallTime{5ms},
                                                              .kind = "denied",
                                                              .target = "cap:http.fetch",
                                                              .reason = "not granted"}};
  auto event_after = decode_record(encode_record(event));
  ASSERT_TRUE(event_after.has_value());
  EXPECT_EQ(std::get<domain::CapabilityEvent>(event_after->record).target, "cap:http.fetch");
}

TEST(RecordJson, RefusesWhatIsNoRecord) {
  std::string line = encode_record({"id-1", execution("id-1")});
  EXPECT_FALSE(decode_record("").has_value());
  EXPECT_FALSE(decode_record("{}").has_value());
  EXPECT_FALSE(decode_record(line.substr(0, line.size() - 5)).has_value());
  EXPECT_FALSE(decode_record(line.insert(1, R"("extra":1,)")).has_value());
  EXPECT_EQ(decode_record(R"({"id":"a","kind":"other"})").error().code, "telemetry.invalid_record");
}

class RecordSpoolTest : public ::testing::Test {
 protected:
  std::unique_ptr<RecordSpool> open(RecordSpoolOptions options = {}) {
    options.folder = folder_.path();
    return RecordSpool::open(std::move(options), clock_, random_, metrics_, {}).value();
  }
  static std::vector<std::string> ids(const RecordSpool::Batch& batch) {
    std::vector<std::string> result;
    std::string_view rest = batch.lines;
    while (!rest.empty()) {
      const std::size_t end = rest.find('\n');
      result.push_back(decode_record(rest.substr(0, end)).value().id);
      rest.remove_prefix(end + 1);
    }
    EXPECT_EQ(result.size(), batch.records);
    return result;
  }
  /// Everything, in batches of about `max_bytes`, acknowledged.
  static std::vector<std::string> drain(RecordSpool& spool, std::size_t max_bytes = 4000) {
    std::vector<std::string> result;
    EXPECT_TRUE(spool.flush(soon()));
    while (auto batch = spool.next(max_bytes, now())) {
      for (std::string& id : ids(*batch)) result.push_back(std::move(id));
      spool.acknowledge(*batch);
    }
    return result;
  }

  alga::testing::TestingFolder folder_;
  SystemClock clock_;
  SystemRandom random_;
  PrometheusMetrics metrics_;
};

TEST_F(RecordSpoolTest, DeliversInOrderAndForgetsWhatIsAcknowledged) {
  auto spool = open({.max_segment_bytes = 5000});
  std::vector<std::string> expected;
  for (int i = 0; i < 100; ++i) {
    expected.push_back("id-" + std::to_string(i));
    spool->execution(execution(expected.back()));
    if (i % 7 == 0) ASSERT_TRUE(spool->flush(soon()));
  }
  EXPECT_EQ(drain(*spool), expected);
  EXPECT_FALSE(spool->next(1000, now()).has_value());
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
    files += entry.path().extension() == ".jsonl" ? 1 : 0;
  }
  EXPECT_EQ(files, 1U);
}

TEST_F(RecordSpoolTest, RepeatsABatchUntilItIsAcknowledged) {
  auto spool = open();
  spool->execution(execution("a"));
  spool->execution(execution("b"));
  ASSERT_TRUE(spool->flush(soon()));
  const auto first = spool->next(1, soon());
  EXPECT_EQ(ids(*first), (std::vector<std::string>{"a"}));
  EXPECT_EQ(ids(*spool->next(1, soon())), (std::vector<std::string>{"a"}));
  spool->acknowledge(*first);
  EXPECT_EQ(ids(*spool->next(1, soon())), (std::vector<std::string>{"b"}));
  spool->acknowledge(*first);
  EXPECT_EQ(ids(*spool->next(1, soon())), (std::vector<std::string>{"b"}));
}

TEST_F(RecordSpoolTest, SurvivesARestartAndHalfALine) {
  {
    auto spool = open();
    for (const char* id : {"a", "b", "c"}) spool->execution(execution(id));
    ASSERT_TRUE(spool->flush(soon()));
    spool->acknowledge(*spool->next(1, soon()));
  }
  std::ofstream(folder_.path("0000000000000001.jsonl"), std::ios::app) << R"({"id":"torn)";
  {
    auto spool = open();
    spool->execution(execution("d"));
    EXPECT_EQ(drain(*spool), (std::vector<std::string>{"b", "c", "d"}));
  }
  auto spool = open();
  EXPECT_FALSE(spool->next(1000, now()).has_value());
}

TEST_F(RecordSpoolTest, WritesWhatIsQueuedWhenItEnds) {
  {
    auto spool = open();
    spool->guest_log({.who = who(), .stream = "log", .message = "last words"});
  }
  auto spool = open();
  EXPECT_THAT(spool->next(1000, soon())->lines, HasSubstr("last words"));
}

TEST_F(RecordSpoolTest, DropsTheNewestAndCountsWhenTheDiskShareIsUsedUp) {
  auto spool = open({.max_disk_bytes = 3000});
  for (int i = 0; i < 50; ++i) {
    spool->execution(execution("id-" + std::to_string(i)));
    ASSERT_TRUE(spool->flush(soon()));
  }
  const auto kept = drain(*spool);
  ASSERT_FALSE(kept.empty());
  EXPECT_EQ(kept.front(), "id-0");
  EXPECT_THAT(metrics_.serialize(),
              HasSubstr("alga_records_dropped_total " + std::to_string(50 - kept.size()) + "\n"));
}

TEST_F(RecordSpoolTest, TakesRecordsAgainOnceTheFullDiskShareIsDelivered) {
  auto spool = open({.max_disk_bytes = 3000});
  for (const char* outage : {"first", "second"}) {
    for (int i = 0; i < 50; ++i) {
      spool->execution(execution(outage));
      ASSERT_TRUE(spool->flush(soon()));
    }
    EXPECT_GT(drain(*spool).size(), 1U) << outage;
  }
  spool->execution(execution("a"));
  EXPECT_EQ(drain(*spool), (std::vector<std::string>{"a"}));
}

domain::GuestLogLine line_of(std::string tenant, std::string message = "again") {
  domain::GuestLogLine line{.who = who(), .stream = "log", .message = std::move(message)};
  line.who.tenant = std::move(tenant);
  return line;
}

domain::CapabilityEvent event_of(std::string tenant) {
  domain::CapabilityEvent event{.who = who(), .kind = "denied", .target = "cap:http.fetch"};
  event.who.tenant = std::move(tenant);
  return event;
}

/// What is in the spool: `execution`, `line t1`, …, in order.
std::vector<std::string> kinds(std::string_view lines) {
  std::vector<std::string> result;
  while (!lines.empty()) {
    const std::size_t end = lines.find('\n');
    const auto record = decode_record(lines.substr(0, end)).value().record;
    lines.remove_prefix(end + 1);
    if (const auto* line = std::get_if<domain::GuestLogLine>(&record)) {
      result.push_back("line " + line->who.tenant);
    } else if (const auto* event = std::get_if<domain::CapabilityEvent>(&record)) {
      result.push_back("event " + event->who.tenant);
    } else {
      result.emplace_back("execution");
    }
  }
  return result;
}

TEST_F(RecordSpoolTest, ATenantsFloodOfLinesLosesNothingButItsLines) {
  {
    auto spool = open({.max_queued_records = 8, .linger = 1h});
    for (int i = 0; i < 100; ++i) spool->guest_log(line_of("loud"));
    spool->execution(execution("a"));
    spool->capability(event_of("loud"));
    spool->guest_log(line_of("quiet"));
    EXPECT_THAT(metrics_.serialize(), HasSubstr("alga_records_dropped_total 98\n"));
  }
  EXPECT_EQ(kinds(open()->next(100'000, soon())->lines),
            (std::vector<std::string>{"line loud", "line loud", "execution", "event loud",
                                      "line quiet"}));
}

TEST_F(RecordSpoolTest, AFloodOfEventsLosesNoExecution) {
  {
    auto spool = open({.max_queued_records = 8, .linger = 1h});
    for (int i = 0; i < 100; ++i) spool->capability(event_of("t" + std::to_string(i / 20)));
    spool->execution(execution("a"));
    spool->guest_log(line_of("t1"));
  }
  const auto kept = kinds(open()->next(100'000, soon())->lines);
  EXPECT_EQ(kept.size(), 10U);
  EXPECT_EQ(std::ranges::count(kept, "event t0"), 2);
  EXPECT_EQ(std::ranges::count(kept, "event t4"), 0) << "eight were there";
  EXPECT_EQ(std::ranges::count(kept, "execution"), 1);
  EXPECT_EQ(std::ranges::count(kept, "line t1"), 1);
}

TEST_F(RecordSpoolTest, LinesLeaveRoomOnDiskForEventsAndThoseForExecutions) {
  auto spool = open({.max_disk_bytes = 16'000, .linger = 0ms});
  const auto fill = [&](auto record) {
    for (int i = 0; i < 100; ++i) {
      record(i);
      EXPECT_TRUE(spool->flush(soon()));
    }
  };
  fill([&](int) { spool->guest_log(line_of("t1")); });
  fill([&](int) { spool->capability(event_of("t1")); });
  fill([&](int i) { spool->execution(execution("id-" + std::to_string(i))); });
  const auto batch = spool->next(100'000, soon());
  const auto kept = kinds(batch->lines);
  std::map<std::string, std::uint64_t> ends;
  std::uint64_t offset = 0;
  std::string_view rest = batch->lines;
  for (const std::string& kind : kept) {
    offset += rest.find('\n') + 1;
    rest = std::string_view(batch->lines).substr(offset);
    ends[kind] = offset;
  }
  EXPECT_LE(ends["line t1"], 12'000U);
  EXPECT_GT(ends["line t1"], 11'000U) << "three quarters are theirs";
  EXPECT_LE(ends["event t1"], 14'000U);
  EXPECT_GT(ends["event t1"], 13'000U);
  EXPECT_LE(ends["execution"], 16'000U);
  EXPECT_GT(ends["execution"], 14'000U);
}

TEST_F(RecordSpoolTest, BelongsToOneProcess) {
  auto spool = open();
  auto second = RecordSpool::open({.folder = folder_.path()}, clock_, random_, metrics_, {});
  EXPECT_EQ(second.error().code, "telemetry.spool_failed");
  EXPECT_FALSE(RecordSpool::open({.folder = folder_.path("none")}, clock_, random_, metrics_, {})
                   .has_value());
}

TEST_F(RecordSpoolTest, ShipperRetriesAndThenDelivers) {
  auto spool = open();
  std::mutex mutex;
  std::condition_variable arrived;
  std::vector<std::string> delivered;
  int failures = 1;
  RecordShipper shipper(
      *spool,
      [&](const RecordSpool::Batch& batch) -> Status {
        const std::scoped_lock lock(mutex);
        if (failures-- > 0) return fail(Kind::unavailable, "test.down");
        if (batch.lines.contains("poison")) return fail(Kind::invalid, "test.poison");
        for (std::string& id : ids(batch)) delivered.push_back(std::move(id));
        arrived.notify_all();
        return {};
      },
      metrics_, {}, 1);
  spool->execution(execution("a"));
  spool->execution(execution("poison"));
  spool->execution(execution("b"));
  std::unique_lock lock(mutex);
  ASSERT_TRUE(arrived.wait_for(lock, 10s, [&] { return delivered.size() == 2; }));
  EXPECT_EQ(delivered, (std::vector<std::string>{"a", "b"}));
  EXPECT_THAT(metrics_.serialize(), HasSubstr("alga_records_refused_total 1\n"));
}

}  // namespace
}  // namespace alga::telemetry
