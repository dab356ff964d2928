#include "sql/database.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <atomic>
#include <future>
#include <latch>
#include <thread>
#include <utility>

#include "base/testing_metrics.h"
#include "sql/error.h"
#include "sql/sqlite.h"
#include "sql/testing/databases.h"

namespace alga::sql {
namespace {

using testing::OnEveryDatabase;
using testing::TemporaryFolder;

class DatabaseContract : public OnEveryDatabase {
 protected:
  void SetUp() override {
    OnEveryDatabase::SetUp();
    if (!database_) return;
    must("CREATE TABLE parent (id TEXT PRIMARY KEY)");
    must("CREATE TABLE item (id TEXT PRIMARY KEY, number BIGINT, bytes " +
         std::string(GetParam() == Dialect::sqlite ? "BLOB" : "BYTEA") +
         ", parent TEXT REFERENCES parent (id), CHECK (number >= 0))");
  }
  void must(const std::string& sql) {
    Status done = database_->write([&](Executor& on) { return on.script(sql); });
    ASSERT_TRUE(done.has_value()) << done.error().message;
  }
  Result<std::uint64_t> insert(std::string_view id, std::int64_t number) {
    return database_->write([&](Executor& sql) {
      return sql.execute("INSERT INTO item (id, number) VALUES ($1, $2)", {id, number});
    });
  }
  std::int64_t count() {
    auto rows =
        database_->read([](Executor& sql) { return sql.query("SELECT count(*) FROM item"); });
    return rows.value().front().at<std::int64_t>(0);
  }
  template <class T>
  static std::string_view code(const Result<T>& result) {
    return result ? "ok" : result.error().code;
  }
};

TEST_P(DatabaseContract, GivesBackWhatItWasGiven) {
  std::string bytes("\0\xff\x01 bytes", 9);
  auto row = database_->write([&](Executor& sql) -> Result<std::optional<Row>> {
    TRY_VOID(sql.execute("INSERT INTO item (id, number, bytes) VALUES ($1, $2, $3)",
                         {"näme", std::int64_t{9'007'199'254'740'993}, Blob{bytes}}));
    return sql.find("SELECT id, number, bytes, parent FROM item WHERE id = $1", {"näme"});
  });
  ASSERT_TRUE(row.has_value()) << row.error().message;
  auto [id, number, blob, parent] =
      row->value().as<std::string, std::int64_t, Blob, std::optional<std::string>>();
  EXPECT_EQ(id, "näme");
  EXPECT_EQ(number, 9'007'199'254'740'993);
  EXPECT_EQ(blob.bytes, bytes);
  EXPECT_EQ(parent, std::nullopt);
}

TEST_P(DatabaseContract, KeepsEmptyBytesApartFromNull) {
  auto row = database_->write([&](Executor& sql) -> Result<std::optional<Row>> {
    TRY_VOID(sql.execute("INSERT INTO item (id, bytes) VALUES ($1, $2)", {"a", Blob{}}));
    return sql.find("SELECT bytes FROM item");
  });
  EXPECT_EQ(row.value()->at<std::optional<Blob>>(0), Blob{});
}

TEST_P(DatabaseContract, NamesWhatAConstraintRefused) {
  ASSERT_TRUE(insert("a", 1));
  EXPECT_EQ(code(insert("a", 2)), "sql.unique_violation");
  EXPECT_EQ(code(insert("b", -1)), "sql.check_violation");
  auto orphan = database_->write([](Executor& sql) {
    return sql.execute("INSERT INTO item (id, parent) VALUES ('c', 'nobody')");
  });
  EXPECT_EQ(code(orphan), "sql.foreign_key_violation");
  EXPECT_EQ(count(), 1);
}

TEST_P(DatabaseContract, KeepsValuesOutOfErrors) {
  ASSERT_TRUE(insert("canary-7f3a", 1));
  auto again = insert("canary-7f3a", 1);
  ASSERT_FALSE(again);
  EXPECT_THAT(again.error().message, ::testing::Not(::testing::HasSubstr("canary-7f3a")));
}

TEST_P(DatabaseContract, RefusesTextThatIsNotTextOnBothEngines) {
  EXPECT_EQ(code(insert(std::string_view("a\0b", 3), 1)), "sql.invalid_text");
  EXPECT_EQ(code(insert("\xff\xfe", 1)), "sql.invalid_text");
  EXPECT_EQ(code(insert("\xed\xa0\x80", 1)), "sql.invalid_text");
}

TEST_P(DatabaseContract, CountsTheRowsItChanged) {
  ASSERT_TRUE(insert("a", 1));
  ASSERT_TRUE(insert("b", 1));
  auto changed = database_->write([](Executor& sql) {
    return sql.execute("UPDATE item SET number = $1 WHERE number = $2", {5, 1});
  });
  EXPECT_EQ(changed.value(), 2U);
  auto none = database_->write(
      [](Executor& sql) { return sql.execute("DELETE FROM item WHERE id = $1", {"nobody"}); });
  EXPECT_EQ(none.value(), 0U);
}

TEST_P(DatabaseContract, RollsBackWhatFails) {
  Status status = database_->write([&](Executor& sql) -> Status {
    TRY_VOID(sql.execute("INSERT INTO item (id) VALUES ('a')"));
    return fail(Kind::conflict, "test.refused");
  });
  EXPECT_EQ(status.error().code, "test.refused");
  EXPECT_EQ(count(), 0);
}

TEST_P(DatabaseContract, RollsBackWhatThrows) {
  const auto insert_and_throw = [](Executor& sql) -> Status {
    TRY_VOID(sql.execute("INSERT INTO item (id) VALUES ('a')"));
    throw std::runtime_error("bug");
  };
  EXPECT_THROW((void)database_->write(insert_and_throw), std::runtime_error);
  EXPECT_EQ(count(), 0);
  EXPECT_TRUE(insert("b", 1));
}

TEST_P(DatabaseContract, DoesNotCommitAfterASwallowedFailure) {
  ASSERT_TRUE(insert("a", 1));
  Status status = database_->write([&](Executor& sql) -> Status {
    TRY_VOID(sql.execute("INSERT INTO item (id) VALUES ('b')"));
    (void)sql.execute("INSERT INTO item (id) VALUES ('a')");
    return {};
  });
  EXPECT_EQ(status.error().code, "sql.transaction_failed");
  EXPECT_EQ(count(), 1);
}

/// Reads the number of 'a' and writes the next one.
Status increment(Executor& sql) {
  TRY(auto row, sql.find("SELECT number FROM item WHERE id = 'a'"));
  TRY_VOID(
      sql.execute("UPDATE item SET number = $1 WHERE id = 'a'", {row->at<std::int64_t>(0) + 1}));
  return {};
}

TEST_P(DatabaseContract, LosesNoIncrementUnderContention) {
  ASSERT_TRUE(insert("a", 0));
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 25; ++i) {
        Status done = database_->write(increment);
        EXPECT_TRUE(done) << done.error().message;
      }
    });
  }
  threads.clear();
  auto row = database_->read([](Executor& sql) { return sql.find("SELECT number FROM item"); });
  EXPECT_EQ(row.value()->at<std::int64_t>(0), 100);
}

TEST_P(DatabaseContract, WaitsForARowThatIsLockedInsteadOfRunningAgain) {
  ASSERT_TRUE(insert("a", 0));
  std::atomic<int> runs = 0;
  const auto increment_locked = [&](Executor& sql) -> Status {
    ++runs;
    TRY(auto row, sql.find("SELECT number FROM item WHERE id = 'a'" + std::string(sql.row_lock())));
    std::this_thread::sleep_for(std::chrono::milliseconds{1});
    TRY_VOID(
        sql.execute("UPDATE item SET number = $1 WHERE id = 'a'", {row->at<std::int64_t>(0) + 1}));
    return {};
  };
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 25; ++i) {
        Status done = database_->write(increment_locked, {.isolation = Isolation::read_committed});
        EXPECT_TRUE(done) << done.error().message;
      }
    });
  }
  threads.clear();
  auto row = database_->read([](Executor& sql) { return sql.find("SELECT number FROM item"); });
  EXPECT_EQ(row.value()->at<std::int64_t>(0), 100);
  EXPECT_EQ(runs, 100);
}

TEST_P(DatabaseContract, AllowsNoWriteSkew) {
  // Both transactions read both rows and each clears one, provided that one remains.
  ASSERT_TRUE(insert("a", 1));
  ASSERT_TRUE(insert("b", 1));
  auto clear = [&](const char* id) {
    (void)database_->write([&](Executor& sql) -> Status {
      TRY(auto row, sql.find("SELECT sum(number) >= 2 FROM item"));
      if (row->at<std::int64_t>(0) == 0) return fail(Kind::conflict, "test.last");
      std::this_thread::sleep_for(std::chrono::milliseconds{20});
      TRY_VOID(sql.execute("UPDATE item SET number = 0 WHERE id = $1", {id}));
      return {};
    });
  };
  {
    std::jthread one(clear, "a");
    std::jthread two(clear, "b");
  }
  auto left = database_->read(
      [](Executor& sql) { return sql.query("SELECT 1 FROM item WHERE number = 1"); });
  EXPECT_EQ(left.value().size(), 1U);
}

/// Inserts a row of this id where there is none.
Status claim_key(Executor& sql, const std::string& id) {
  TRY(auto row, sql.find("SELECT 1 FROM item WHERE id = $1", {id}));
  if (row) return fail(Kind::conflict, "test.taken");
  TRY_VOID(sql.execute("INSERT INTO item (id) VALUES ($1)", {id}));
  return {};
}

TEST_P(DatabaseContract, LetsTheLoserOfARaceForAKeySeeTheWinner) {
  for (int round = 0; round < 20; ++round) {
    std::string id = "k" + std::to_string(round);
    std::atomic<int> won = 0;
    std::atomic<int> lost = 0;
    auto claim = [&] {
      Status done = database_->write([&](Executor& sql) { return claim_key(sql, id); });
      if (done) {
        ++won;
      } else {
        EXPECT_EQ(done.error().code, "test.taken") << done.error().message;
        ++lost;
      }
    };
    {
      std::vector<std::jthread> threads;
      for (int t = 0; t < 4; ++t) threads.emplace_back(claim);
    }
    EXPECT_EQ(won, 1);
    EXPECT_EQ(lost, 3);
  }
}

TEST_P(DatabaseContract, EndsAStatementAtItsDeadline) {
  std::string_view endless =
      "WITH RECURSIVE loop (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM loop) "
      "SELECT count(*) FROM loop";
  auto rows = database_->read([&](Executor& sql) { return sql.query(endless); },
                              within(std::chrono::milliseconds{200}));
  EXPECT_EQ(code(rows), "sql.timeout");
  EXPECT_TRUE(insert("still works", 1));
}

TEST_P(DatabaseContract, OrdersTextByBytes) {
  must(GetParam() == Dialect::sqlite ? "CREATE TABLE k (key TEXT PRIMARY KEY)"
                                     : "CREATE TABLE k (key TEXT COLLATE \"C\" PRIMARY KEY)");
  must("INSERT INTO k VALUES ('b'), ('B'), ('a'), ('_'), ('ä')");
  auto rows =
      database_->read([](Executor& sql) { return sql.query("SELECT key FROM k ORDER BY key"); });
  std::string order;
  for (const Row& row : rows.value()) order += row.at<std::string>(0);
  EXPECT_EQ(order, "B_abä");
}

TEST_P(DatabaseContract, HearsWhatIsCommittedOnAChannelAndNothingThatIsRolledBack) {
  auto listener = database_->listen("test_channel", within(std::chrono::seconds{5}));
  if (GetParam() == Dialect::sqlite) {
    ASSERT_FALSE(listener);
    EXPECT_EQ(listener.error().code, "sql.no_notifications");
    return;
  }
  ASSERT_TRUE(listener) << listener.error().message;
  const auto say = [&](bool commit) {
    return database_->write([&](Executor& sql) -> Status {
      TRY_VOID(sql.query("SELECT pg_notify('test_channel', '')"));
      if (!commit) return fail(Kind::invalid, "test.rolled_back", "");
      return {};
    });
  };
  EXPECT_FALSE(say(false));
  EXPECT_EQ((*listener)->wait(within(std::chrono::milliseconds{50})).value(), 0U);
  EXPECT_TRUE(say(true));
  EXPECT_EQ((*listener)->wait(within(std::chrono::seconds{5})).value(), 1U);
  // A server that ends the connection ends the listener, and says so.
  EXPECT_TRUE(database_->read([](Executor& sql) {
    return sql.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE "
        "'LISTEN%' AND datname = current_database()");
  }));
  EXPECT_EQ((*listener)->wait(within(std::chrono::seconds{5})).error().code, "sql.unavailable");
}

ALGA_ON_EVERY_DATABASE(DatabaseContract);

TEST(SqliteDatabase, MakesItsFileReadableByItsOwnerOnly) {
  TemporaryFolder folder;
  auto database = open_sqlite(folder.path() + "/a.db", 1);
  ASSERT_TRUE(database.has_value());
  ASSERT_TRUE((*database)->write([](Executor& sql) { return sql.script("CREATE TABLE t (a)"); }));
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    struct stat info{};
    ASSERT_EQ(stat(entry.path().c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777U, 0600U) << entry.path();
  }
}

TEST(SqliteDatabase, RefusesWritesOnAReadingConnection) {
  TemporaryFolder folder;
  auto database = open_sqlite(folder.path() + "/a.db", 1);
  Status written =
      (*database)->read([](Executor& sql) { return sql.script("CREATE TABLE t (a)"); });
  EXPECT_FALSE(written);
}

TEST(PostgresDatabase, SaysUnavailableWithoutAServer) {
  auto database = open_database("postgresql:///x?host=/nonexistent-folder");
  EXPECT_EQ((*database)->probe().error().code, "sql.unavailable");
}

TEST(PostgresDatabase, OutlivesARestartOfTheServer) {
  auto server = testing::PostgresServer::start();
  if (!server) GTEST_SKIP() << "no PostgreSQL on this machine";
  auto database = open_database(server->address());
  auto create = [](Executor& sql) { return sql.script("CREATE TABLE t (a BIGINT)"); };
  ASSERT_TRUE((*database)->write(create));
  server->crash();
  EXPECT_EQ((*database)->probe().error().code, "sql.unavailable");
  ASSERT_TRUE(server->restart());
  EXPECT_TRUE(
      (*database)->write([](Executor& sql) { return sql.execute("INSERT INTO t VALUES (1)"); }));
  auto rows = (*database)->read([](Executor& sql) { return sql.query("SELECT a FROM t"); });
  EXPECT_EQ(rows.value().size(), 1U);
}

TEST(PostgresDatabase, RepeatsWorkWhoseConnectionDiedBeforeTheCommit) {
  auto server = testing::PostgresServer::start();
  if (!server) GTEST_SKIP() << "no PostgreSQL on this machine";
  auto database = open_database(server->address());
  ASSERT_TRUE(
      (*database)->write([](Executor& sql) { return sql.script("CREATE TABLE t (a BIGINT)"); }));
  int attempts = 0;
  auto work = [&](int deaths) {
    attempts = 0;
    return (*database)->write([&, deaths](Executor& sql) -> Status {
      TRY_VOID(sql.execute("INSERT INTO t VALUES (1)"));
      if (++attempts <= deaths)
        TRY_VOID(sql.query("SELECT pg_terminate_backend(pg_backend_pid())"));
      return {};
    });
  };
  EXPECT_TRUE(work(1));
  EXPECT_EQ(attempts, 2);
  EXPECT_EQ(work(1'000).error().code, "sql.unavailable") << "not for ever";
  EXPECT_LE(attempts, 3);
  auto rows = (*database)->read([](Executor& sql) { return sql.query("SELECT a FROM t"); });
  EXPECT_EQ(rows.value().size(), 1U);
}

TEST(PostgresDatabase, FreesWhatATransactionHoldsThatNobodyWaitsForAnyMore) {
  auto server = testing::PostgresServer::start();
  if (!server) GTEST_SKIP() << "no PostgreSQL on this machine";
  auto database = *open_database(server->address(), OpenOptions{});
  ASSERT_TRUE(database->write([](Executor& sql) {
    return sql.script("CREATE TABLE item (id INT PRIMARY KEY); INSERT INTO item VALUES (1)");
  }));
  const auto lock_row = [](Executor& sql) -> Status {
    TRY_VOID(sql.query("SELECT id FROM item FOR UPDATE"));
    return {};
  };
  std::promise<void> locked, over;
  // As if its process were frozen in the middle: it neither goes on nor closes the connection.
  std::jthread frozen([&] {
    Status done = database->write(
        [&](Executor& sql) -> Status {
          TRY_VOID(lock_row(sql));
          locked.set_value();
          over.get_future().wait();
          return {};
        },
        {.deadline = within(std::chrono::seconds{1}), .isolation = Isolation::read_committed});
    ASSERT_FALSE(done) << "what it held was another's in between";
    EXPECT_EQ(done.error().kind, Kind::unavailable) << done.error().code;
  });
  locked.get_future().wait();
  Status next = database->write(lock_row, {.deadline = within(std::chrono::seconds{30}),
                                           .isolation = Isolation::read_committed});
  EXPECT_TRUE(next) << next.error().message;
  over.set_value();
}

TEST(PostgresDatabase, SaysUnavailableWhereTheServerEndedTheSession) {
  for (const char* state : {"08006", "53300", "57P01", "25P03", "25P04"}) {
    EXPECT_EQ(from_sqlstate(state, "").code, "sql.unavailable") << state;
  }
  EXPECT_EQ(from_sqlstate("25P02", "").code, "sql.failed");
}

TEST(PostgresDatabase, MakesPlansAnewWhenTheirTimeIsOver) {
  auto server = testing::PostgresServer::start();
  if (!server) GTEST_SKIP() << "no PostgreSQL on this machine";
  const auto plans_kept = [&](std::chrono::milliseconds life) {
    auto database =
        *open_database(server->address(), OpenOptions{.connections = 1, .plan_life = life});
    Result<std::int64_t> kept = database->read([](Executor& sql) -> Result<std::int64_t> {
      for (int i = 0; i < 8; ++i) {
        TRY_VOID(sql.query("SELECT oid FROM pg_class WHERE relname = $1", {"nothing"}));
      }
      TRY(auto row, sql.find("SELECT CAST(coalesce(sum(generic_plans), 0) AS BIGINT) FROM "
                             "pg_prepared_statements WHERE statement LIKE 'SELECT oid%'"));
      return row->at<std::int64_t>(0);
    });
    return kept.value();
  };
  EXPECT_GT(plans_kept(std::chrono::hours{1}), 0)
      << "five times PostgreSQL plans, then it keeps one";
  EXPECT_EQ(plans_kept(std::chrono::milliseconds{0}), 0);
}

TEST(PostgresDatabase, CountsTransactionsThatRunAgain) {
  auto server = testing::PostgresServer::start();
  if (!server) GTEST_SKIP() << "no PostgreSQL on this machine";
  alga::testing::CountingMetrics metrics;
  auto database =
      *open_database(server->address(), OpenOptions{.repeats = &metrics.counter("repeats", "")});
  ASSERT_TRUE(database->write([](Executor& sql) {
    return sql.script("CREATE TABLE item (id INT PRIMARY KEY); INSERT INTO item VALUES (1)");
  }));
  std::latch both(2);
  int runs = 0;
  const auto change = [&](bool last) {
    bool first = true;
    Status done = database->write([&](Executor& sql) -> Status {
      TRY_VOID(sql.query("SELECT id FROM item"));
      if (std::exchange(first, false)) both.arrive_and_wait();
      if (last) std::this_thread::sleep_for(std::chrono::milliseconds{200});
      if (last) ++runs;
      TRY_VOID(sql.execute("UPDATE item SET id = id + 1"));
      return {};
    });
    EXPECT_TRUE(done) << done.error().message;
  };
  {
    std::jthread one(change, false);
    std::jthread two(change, true);
  }
  EXPECT_EQ(runs, 2) << "the other one changed what it had read";
  EXPECT_EQ(metrics.count("repeats"), 1);
}

TEST(OpenDatabase, RefusesAnAddressItDoesNotKnow) {
  EXPECT_EQ(open_database("mysql://x").error().code, "sql.invalid_address");
}

}  // namespace
}  // namespace alga::sql
