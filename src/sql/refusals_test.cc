// Each trouble of a database as it really comes, and the code that callers see.

#include <gtest/gtest.h>

#include <fstream>
#include <future>

#include "sql/database.h"
#include "sql/sqlite.h"
#include "sql/testing/databases.h"

namespace alga::sql {
namespace {

using testing::OnEveryDatabase;
using testing::TemporaryFolder;

class Refusals : public OnEveryDatabase {};

TEST_P(Refusals, SaysFailedForWhatIsNoSql) {
  auto answer = database_->read([](Executor& sql) { return sql.query("SELEKT 1"); });
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, "sql.failed");
}

TEST_P(Refusals, SaysBusyWhenNoConnectionComesFree) {
  auto one = open_database(address_, 1);
  ASSERT_TRUE(one);
  std::promise<void> taken;
  std::promise<void> enough;
  std::thread holder([&] {
    (void)(*one)->write([&](Executor&) -> Status {
      taken.set_value();
      enough.get_future().wait();
      return {};
    });
  });
  taken.get_future().wait();
  Status second = (*one)->write([](Executor&) { return Status{}; },
                                {.deadline = within(std::chrono::milliseconds{50})});
  enough.set_value();
  holder.join();
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, "sql.busy");
  EXPECT_GT(second.error().retry_after_s, 0U);
}

ALGA_ON_EVERY_DATABASE(Refusals);

TEST(SqliteRefusals, SaysDiskFullAndGoesOnWhenThereIsRoom) {
  TemporaryFolder folder;
  auto database = open_sqlite(folder.path() + "/a.db", 1);
  ASSERT_TRUE(database);
  ASSERT_TRUE((*database)->write([](Executor& sql) { return sql.script("CREATE TABLE t (a)"); }));
  ASSERT_TRUE(
      (*database)->write([](Executor& sql) { return sql.script("PRAGMA max_page_count = 10"); }));
  auto insert = [](Executor& sql) {
    return sql.execute("INSERT INTO t VALUES ($1)", {std::string(200'000, 'x')});
  };
  auto refused = (*database)->write(insert);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, "sql.disk_full");
  EXPECT_EQ(refused.error().kind, Kind::unavailable);
  ASSERT_TRUE((*database)->write(
      [](Executor& sql) { return sql.script("PRAGMA max_page_count = 10000"); }));
  EXPECT_TRUE((*database)->write(insert));
}

TEST(SqliteRefusals, SaysCorruptForAFileThatIsNoDatabase) {
  TemporaryFolder folder;
  std::string path = folder.path() + "/a.db";
  std::ofstream(path) << std::string(8192, 'z');
  auto database = open_sqlite(path, 1);
  ASSERT_FALSE(database);
  EXPECT_EQ(database.error().code, "sql.corrupt");
}

TEST(PostgresRefusals, SaysCommitUnknownWhenTheConnectionBreaksDuringTheCommit) {
  auto server = testing::PostgresServer::start();
  if (!server) GTEST_SKIP() << "no PostgreSQL on this machine";
  auto database = open_database(server->address());
  // A deferred constraint runs within the COMMIT.
  ASSERT_TRUE((*database)->write([](Executor& sql) {
    return sql.script(
        "CREATE TABLE t (a BIGINT); CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END$$; CREATE "
        "CONSTRAINT TRIGGER dies AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW "
        "EXECUTE FUNCTION die()");
  }));
  int attempts = 0;
  auto answer = (*database)->write([&](Executor& sql) {
    ++attempts;
    return sql.execute("INSERT INTO t VALUES (1)");
  });
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, "sql.commit_unknown");
  EXPECT_EQ(attempts, 1) << "who does not know whether it happened must not do it again";
}

}  // namespace
}  // namespace alga::sql
