#include "sql/migrate.h"

#include <array>
#include <thread>

#include "sql/testing/databases.h"

namespace alga::sql {
namespace {

constexpr Migration kFirst{1, "things", R"sql(
CREATE TABLE thing (id {key} PRIMARY KEY, bytes {blob}, number {int} NOT NULL) {strict};
CREATE INDEX thing_number ON thing (number);
)sql"};
constexpr Migration kSecond{2, "more", "ALTER TABLE thing ADD COLUMN note {text};"};

class MigrationContract : public testing::OnEveryDatabase {
 protected:
  ManualClock clock_;
};

TEST_P(MigrationContract, AppliesEachStepOnce) {
  std::array one{kFirst};
  auto report = migrate(*database_, one, clock_);
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(report->before, 0U);
  EXPECT_EQ(report->after, 1U);
  std::array both{kFirst, kSecond};
  ASSERT_TRUE(migrate(*database_, both, clock_));
  ASSERT_TRUE(migrate(*database_, both, clock_));
  EXPECT_EQ(schema_version(*database_).value(), 2U);
  EXPECT_TRUE(database_->write([](Executor& sql) {
    return sql.execute("INSERT INTO thing (id, number, note) VALUES ('a', 1, 'n')");
  }));
}

TEST_P(MigrationContract, RefusesAStepThatReadsDifferentlyNow) {
  std::array one{kFirst};
  ASSERT_TRUE(migrate(*database_, one, clock_));
  std::array edited{Migration{1, "things", "CREATE TABLE other (id {key} PRIMARY KEY) {strict};"}};
  EXPECT_EQ(migrate(*database_, edited, clock_).error().code, "sql.migration_changed");
}

TEST_P(MigrationContract, RefusesADatabaseFromTheFuture) {
  std::array both{kFirst, kSecond};
  ASSERT_TRUE(migrate(*database_, both, clock_));
  std::array one{kFirst};
  EXPECT_EQ(migrate(*database_, one, clock_).error().code, "sql.schema_too_new");
}

TEST_P(MigrationContract, LeavesNothingOfAStepThatFails) {
  std::array broken{kFirst, Migration{2, "broken",
                                      "CREATE TABLE half (id {key}) {strict}; "
                                      "INSERT INTO nowhere VALUES (1);"}};
  EXPECT_FALSE(migrate(*database_, broken, clock_));
  EXPECT_EQ(schema_version(*database_).value(), 1U);
  EXPECT_FALSE(database_->read([](Executor& sql) { return sql.query("SELECT id FROM half"); }));
}

TEST_P(MigrationContract, RunsOnceWhenManyServersStartTogether) {
  std::array both{kFirst, kSecond};
  std::vector<std::jthread> servers;
  for (int i = 0; i < 4; ++i) {
    servers.emplace_back([&] {
      auto database = open();
      auto report = migrate(*database, both, clock_);
      EXPECT_TRUE(report) << report.error().message;
    });
  }
  servers.clear();
  EXPECT_EQ(schema_version(*database_).value(), 2U);
}

ALGA_ON_EVERY_DATABASE(MigrationContract);

}  // namespace
}  // namespace alga::sql
