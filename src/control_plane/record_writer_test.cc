#include "control_plane/record_writer.h"

#include <deque>
#include <latch>

#include "base/testing_metrics.h"
#include "control_plane/testing.h"

namespace alga::control_plane {
namespace {

/// Holds the first write until it is told to go on, and fails those after it as it was told.
class Troubled final : public testing::PassingDatabase {
 public:
  using PassingDatabase::PassingDatabase;
  std::deque<Error> failures;
  std::latch begun{1}, go_on{1};
  int writes = 0;

 protected:
  Status run_write(const sql::WriteOptions& options, Work work) override {
    if (++writes == 1) {
      begun.count_down();
      go_on.wait();
    } else if (!failures.empty()) {
      Error error = std::move(failures.front());
      failures.pop_front();
      return fail(std::move(error));
    }
    return real().write([&](sql::Executor& sql) { return work(sql); }, options);
  }
};

class RecordWriterContract : public testing::OnPlatform {};

TEST_P(RecordWriterContract, LosesNothingToADatabaseThatFailsWhileItLooksForABadRecord) {
  Troubled database(open());
  database.failures = {
      Error{Kind::invalid, "sql.invalid_text", "a record that no database takes"},
      Error{Kind::unavailable, "sql.unavailable", "and then the database goes away"}};
  alga::testing::CountingMetrics metrics;
  SystemRandom random;
  Dependencies deps;
  deps.database = &database;
  deps.clock = &p().clock();
  deps.random = &random;
  deps.metrics = &metrics;
  const Core core(std::move(deps));
  RecordWriter writer(core);
  const auto line = [&](const char* message) {
    writer.guest_log({.who = {.tenant = "t1",
                              .extension = "e",
                              .install = "i",
                              .version = "v",
                              .request_id = "r",
                              .trace_id = ""},
                      .at = p().clock().wall(),
                      .stream = "log",
                      .message = message});
  };
  line("first");
  database.begun.wait();
  for (const char* message : {"a", "b", "c"}) line(message);
  database.go_on.count_down();
  ASSERT_TRUE(writer.flush(sql::within(std::chrono::seconds{30})));
  EXPECT_EQ(metrics.count("alga_records_dropped_total"), 0);
  EXPECT_EQ(metrics.count("alga_records_written_total"), 4);
  EXPECT_EQ(database.writes, 4) << "first; the three; one of them; and again the three together";
  writer.stop(sql::within(std::chrono::seconds{30}));
}

ALGA_ON_EVERY_DATABASE(RecordWriterContract);

}  // namespace
}  // namespace alga::control_plane
