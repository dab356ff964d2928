// Many records that expire at once: no transaction grows with them, and they count for nobody.

#include <algorithm>
#include <mutex>

#include "control_plane/core.h"
#include "control_plane/storage_records.h"
#include "control_plane/testing.h"

namespace alga::control_plane {
namespace {

using boost::json::object;
using testing::Platform;
using testing::Reply;

/// The most that one transaction did.
struct Most {
  std::size_t statements = 0, rows = 0;
};

/// A database that remembers how large its largest transaction for writing was.
class Measured final : public testing::PassingDatabase {
 public:
  using PassingDatabase::PassingDatabase;

  void forget() {
    const std::scoped_lock lock(mutex_);
    most_ = {};
  }
  [[nodiscard]] Most most() const {
    const std::scoped_lock lock(mutex_);
    return most_;
  }

 protected:
  Status run_write(const sql::WriteOptions& options, Work work) override {
    return real().write(
        [&](sql::Executor& sql) {
          Counting counting(sql);
          Status done = work(counting);
          const std::scoped_lock lock(mutex_);
          most_.statements = std::max(most_.statements, counting.done.statements);
          most_.rows = std::max(most_.rows, counting.done.rows);
          return done;
        },
        options);
  }

 private:
  class Counting final : public testing::PassingExecutor {
   public:
    using PassingExecutor::PassingExecutor;
    [[nodiscard]] Result<sql::Rows> query(std::string_view text,
                                          const std::vector<sql::Value>& params) override {
      ++done.statements;
      auto rows = PassingExecutor::query(text, params);
      if (rows) done.rows += rows->size();
      return rows;
    }
    Result<std::uint64_t> execute(std::string_view text,
                                  const std::vector<sql::Value>& params) override {
      ++done.statements;
      auto rows = PassingExecutor::execute(text, params);
      if (rows) done.rows += *rows;
      return rows;
    }
    Most done;
  };

  mutable std::mutex mutex_;
  Most most_;
};

constexpr std::uint64_t kMost = StorageRecords::most_forgotten;
/// What else a write of one record does.
constexpr std::size_t kFewStatements = 20, kFewRows = 20;

class MassExpiry : public sql::testing::OnEveryDatabase {
 protected:
  void SetUp() override {
    OnEveryDatabase::SetUp();
    if (!database_) return;
    auto measured = std::make_unique<Measured>(std::move(database_));
    measured_ = measured.get();
    platform_ = std::make_unique<Platform>(
        std::move(measured),
        [](Options& options) {
          for (auto [limit, value] : {std::pair{domain::Limit::storage_namespaces, 3},
                                      std::pair{domain::Limit::storage_keys, kKeys},
                                      std::pair{domain::Limit::storage_bytes, kBytes}}) {
            ASSERT_TRUE(options.limits.set_value(limit, static_cast<std::uint64_t>(value)));
          }
        },
        nullptr,
        [this](Dependencies& deps) {
          deps_.database = deps.database;
          deps_.clock = deps.clock;
          deps_.random = deps.random;
          deps_.metrics = deps.metrics;
        });
    const std::string publisher = p().publisher("acme");
    p().publish(publisher, Platform::bundle(Platform::manifest("hello", "1.0.0")));
    admin_ = p().admin_of("t1");
    Reply made =
        p().call("POST", "/api/v1/installs", admin_,
                 object{{"extension", "acme.hello"}, {"capabilities", {"cap:storage.kv"}}});
    ASSERT_EQ(made.status, 201) << made.text;
    install_ = made.string("/install/id");
  }
  void TearDown() override { platform_.reset(); }
  Platform& p() { return *platform_; }

  /// `count` records `0`, `1`, … of 100 bytes that have expired, as many writes would have left
  /// them.
  void leave_expired(const std::string& ns, std::int64_t count) {
    auto written = p().database().write([&](sql::Executor& sql) -> Status {
      TRY_VOID(sql.execute(
          "INSERT INTO ext_storage_records (tenant, install_id, namespace, record_key, revision, "
          "encoding, value, metadata, size_bytes, ttl_expires_at, created_at, updated_at) WITH "
          "RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < CAST($1 AS "
          "BIGINT)) SELECT 't1', $2, $3, CAST(i AS TEXT), 7, 'bytes', $4, NULL, 99 + "
          "length(CAST(i AS TEXT)), CAST($5 AS BIGINT), 0, 0 FROM n",
          {count, install_, ns, sql::Blob{std::string(99, 'v')}, p().clock().wall()}));
      TRY_VOID(sql.execute(
          "INSERT INTO ext_storage_namespaces (tenant, install_id, namespace, keys_count, "
          "bytes_used) SELECT tenant, install_id, namespace, count(*), CAST(sum(size_bytes) AS "
          "BIGINT) FROM ext_storage_records WHERE install_id = $1 AND namespace = $2 GROUP BY "
          "tenant, install_id, namespace",
          {install_, ns}));
      return {};
    });
    ASSERT_TRUE(written) << written.error().message;
    measured_->forget();
  }
  Reply put(std::string_view ns, std::string_view key, boost::json::value value = 1) {
    return p().call("POST", "/api/internal/ext-storage/install/" + install_, "",
                    object{{"operation", "put"}, {"namespace", ns}, {"key", key}, {"value", value}},
                    {{"x-runner-auth", "token-of-storage"}});
  }
  std::int64_t number(const std::string& text) {
    auto row = p().database().read([&](sql::Executor& sql) { return sql.find(text, {install_}); });
    return row.value()->at<std::int64_t>(0);
  }
  std::int64_t records() {
    return number("SELECT count(*) FROM ext_storage_records WHERE install_id = $1");
  }
  /// How far the counters are from what is there.
  std::int64_t drift() {
    return number(
        "SELECT abs((SELECT coalesce(CAST(sum(keys_count) AS BIGINT), 0) FROM "
        "ext_storage_namespaces WHERE install_id = $1) - (SELECT count(*) FROM ext_storage_records "
        "WHERE install_id = $1)) + abs((SELECT coalesce(CAST(sum(bytes_used) AS BIGINT), 0) FROM "
        "ext_storage_namespaces WHERE install_id = $1) - (SELECT coalesce(CAST(sum(size_bytes) AS "
        "BIGINT), 0) FROM ext_storage_records WHERE install_id = $1))");
  }

  static constexpr int kKeys = 2'000, kBytes = 1'000'000;
  Measured* measured_ = nullptr;
  std::unique_ptr<Platform> platform_;
  Dependencies deps_;  ///< of a second host
  std::string admin_, install_;
};

TEST_P(MassExpiry, LeavesAWriteSmall) {
  leave_expired("n", 20'000);
  leave_expired("m", 20'000);
  EXPECT_EQ(put("n", "new").status, 200);
  EXPECT_LE(measured_->most().rows, kMost + kFewRows);
  EXPECT_LE(measured_->most().statements, kFewStatements);
  EXPECT_EQ(drift(), 0);
}

TEST_P(MassExpiry, IsSweptWhollyInSmallTransactions) {
  leave_expired("n", 20'000);
  leave_expired("m", 20'000);
  const Core core(std::move(deps_));
  StorageRecords storage(core);
  std::uint64_t swept = 0;
  for (bool more = true; more;) {
    auto sweep = storage.sweep();
    ASSERT_TRUE(sweep) << sweep.error().message;
    swept += sweep->records;
    more = sweep->more;
  }
  EXPECT_LE(measured_->most().rows, kMost + kFewRows);
  EXPECT_LE(measured_->most().statements, kFewStatements);
  EXPECT_GT(swept, 0U);
  EXPECT_EQ(records(), 0) << "its own housekeeping may have taken part";
  EXPECT_EQ(number("SELECT count(*) FROM ext_storage_namespaces WHERE install_id = $1"), 0);
}

TEST_P(MassExpiry, CountsNoExpiredRecordAgainstAQuota) {
  leave_expired("n", 20'000);  // more keys and more bytes than an install may have
  leave_expired("m", 20'000);
  leave_expired("o", 20'000);  // and as many namespaces
  EXPECT_EQ(put("p", "new").status, 200) << "a namespace of expired records gives its place";
  EXPECT_EQ(put("n", "new").status, 200);
  EXPECT_EQ(put("m", "new").status, 200);
  Reply fourth = put("o", "new");
  EXPECT_EQ(fourth.status, 429) << fourth.text;
  EXPECT_EQ(fourth.string("/details/code"), "storage.quota");
  EXPECT_GT(records(), 0) << "it was not swept away meanwhile";
  EXPECT_EQ(drift(), 0);
}

TEST_P(MassExpiry, CountsAKeyOnceThatIsWrittenAnewBeforeItWasSwept) {
  leave_expired("n", 6'000);
  auto living = p().database().write([&](sql::Executor& sql) {
    return sql.execute(
        "UPDATE ext_storage_records SET ttl_expires_at = NULL WHERE install_id = $1 AND "
        "CAST(record_key AS BIGINT) < $2",
        {install_, kKeys - 3});
  });
  ASSERT_TRUE(living) << living.error().message;
  const std::string expired =
      "SELECT max(CAST(record_key AS BIGINT)) FROM ext_storage_records WHERE install_id = $1 AND "
      "ttl_expires_at IS NOT NULL";
  for (int i = 0; i < 3; ++i) {
    Reply reply = put("n", std::to_string(number(expired)));
    EXPECT_EQ(reply.status, 200) << reply.text;
    EXPECT_EQ(reply.at("/revision"), 1) << "what has expired is nobody's";
    EXPECT_EQ(drift(), 0);
  }
  EXPECT_EQ(put("n", std::to_string(number(expired))).status, 429) << "the quota is reached";
  EXPECT_EQ(drift(), 0);
}

ALGA_ON_EVERY_DATABASE(MassExpiry);

}  // namespace
}  // namespace alga::control_plane
