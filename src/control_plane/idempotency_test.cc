// What is kept of idempotent answers has a bound in number, bytes and time, in each tenant.

#include <barrier>
#include <set>
#include <thread>

#include "control_plane/core.h"
#include "control_plane/schema/migrations.h"
#include "control_plane/sql_idempotency.h"
#include "control_plane/testing.h"

namespace alga::control_plane {
namespace {

using testing::Platform;
using ClaimKind = domain::IdempotencyClaim::Kind;

constexpr std::uint64_t kAnswers = 64;  // four in each sixteenth
constexpr std::uint64_t kBytes = 16 * 2'000;

class KeptAnswers : public sql::testing::OnEveryDatabase {
 protected:
  void SetUp() override {
    OnEveryDatabase::SetUp();
    if (!database_) return;
    platform_ = std::make_unique<Platform>(
        std::move(database_),
        [](Options& options) {
          options.idempotency_entries = kAnswers;
          options.idempotency_bytes = kBytes;
        },
        nullptr,
        [this](Dependencies& deps) {
          deps.metrics = &metrics_;
          deps.log = Logger(log_, "control_plane");
        });
  }
  void TearDown() override { platform_.reset(); }
  Platform& p() { return *platform_; }

  static domain::IdempotencyScope scope(int key, const std::string& tenant = "t1") {
    return {TenantId::parse(tenant).value(),
            InstallId::parse("i1").value(),
            "tenant_user u1",
            "POST /orders",
            "key-" + std::to_string(key),
            answer_key("k1", 'k')};
  }
  static std::shared_ptr<const domain::AnswerKey> answer_key(std::string id, char byte) {
    return std::make_shared<const domain::AnswerKey>(std::move(id), Secret(std::string(32, byte)));
  }
  domain::StoredAnswer replayed(const domain::IdempotencyScope& of) {
    auto claimed =
        async::block_on(p().plane().idempotency().claim(of, "digest", std::chrono::seconds{30}));
    EXPECT_TRUE(claimed) << claimed.error().message;
    EXPECT_EQ(claimed->kind, ClaimKind::replay);
    return claimed->answer;
  }
  std::string stored() {
    auto row = p().database().read([](sql::Executor& sql) {
      return sql.find("SELECT response FROM idempotency_records WHERE response IS NOT NULL");
    });
    return row.value()->at<sql::Blob>(0).bytes;
  }
  /// In place of what every record says.
  void store(std::string_view column, const sql::Value& value) {
    ASSERT_TRUE(p().database().write([&](sql::Executor& sql) {
      return sql.execute("UPDATE idempotency_records SET " + std::string(column) + " = $1",
                         {value});
    }));
  }
  ClaimKind claim(const domain::IdempotencyScope& of) {
    auto claimed =
        async::block_on(p().plane().idempotency().claim(of, "digest", std::chrono::seconds{30}));
    EXPECT_TRUE(claimed) << claimed.error().message;
    return claimed->kind;
  }
  void complete(const domain::IdempotencyScope& of, std::size_t bytes) {
    auto done = async::block_on(p().plane().idempotency().complete(
        of, "digest", {.status = 200, .body = std::string(bytes, 'a')}));
    EXPECT_TRUE(done) << done.error().message;
  }
  /// A request that is answered, later than those before it.
  void answer(int key, std::size_t bytes, const std::string& tenant = "t1") {
    p().clock().advance(std::chrono::milliseconds{1});
    EXPECT_EQ(claim(scope(key, tenant)), ClaimKind::fresh) << key;
    complete(scope(key, tenant), bytes);
  }
  std::int64_t number(const std::string& text) {
    auto row = p().database().read([&](sql::Executor& sql) { return sql.find(text); });
    return row.value()->at<std::int64_t>(0);
  }
  std::int64_t kept(const std::string& tenant = "t1") {
    return number("SELECT count(*) FROM idempotency_records WHERE state = 'done' AND tenant = '" +
                  tenant + "'");
  }
  std::int64_t kept_bytes() {
    return number(
        "SELECT CAST(coalesce(sum(length(response)), 0) AS BIGINT) FROM idempotency_records");
  }
  /// How far what is counted is from what is there.
  std::int64_t drift() {
    return number(
        "SELECT abs((SELECT CAST(coalesce(sum(answers), 0) AS BIGINT) FROM idempotency_usage) - "
        "(SELECT count(*) FROM idempotency_records WHERE state = 'done')) + abs((SELECT "
        "CAST(coalesce(sum(bytes), 0) AS BIGINT) FROM idempotency_usage) - (SELECT "
        "CAST(coalesce(sum(length(response)), 0) AS BIGINT) FROM idempotency_records))");
  }

  testing::LimitHits metrics_;
  std::shared_ptr<testing::KeptCodes> log_ = std::make_shared<testing::KeptCodes>();
  std::unique_ptr<Platform> platform_;
};

TEST_P(KeptAnswers, AreBoundedInNumberAndTheNewestStays) {
  answer(-1, 10, "t2");
  EXPECT_FALSE(log_->has("limit.idempotent_answers"));
  for (int key = 0; key < 300; ++key) {
    answer(key, 10);
    ASSERT_EQ(claim(scope(key)), ClaimKind::replay) << key;
    ASSERT_LE(kept(), static_cast<std::int64_t>(kAnswers));
  }
  EXPECT_GT(kept(), static_cast<std::int64_t>(kAnswers) / 4) << "it does not forget them all";
  EXPECT_EQ(claim(scope(-1, "t2")), ClaimKind::replay) << "each tenant has a budget of its own";
  EXPECT_EQ(drift(), 0);
  EXPECT_GT(metrics_.of("idempotent_answers"), 0);
  EXPECT_TRUE(log_->has("limit.idempotent_answers"));
}

TEST_P(KeptAnswers, AreSealedInTheDatabase) {
  const std::string body = std::string("card 4111 ") + '\0' + " of somebody\n\n";
  const domain::Headers headers{{"x-name", "somebody's"}, {"set-cookie", "session=canary"}};
  ASSERT_EQ(claim(scope(1)), ClaimKind::fresh);
  ASSERT_TRUE(async::block_on(p().plane().idempotency().complete(
      scope(1), "digest", {.status = 201, .headers = headers, .body = body})));
  const boost::json::value kept = boost::json::parse(stored());
  EXPECT_EQ(kept.at("key"), "k1");
  EXPECT_EQ(kept.as_object().size(), 2U) << kept;
  const auto bytes = base64_decode(kept.at("sealed").as_string());
  ASSERT_TRUE(bytes);
  for (const std::string& text : {body, std::string("4111"), std::string("canary"),
                                  base64_encode(as_bytes("session=canary")), std::string("201")}) {
    EXPECT_FALSE(bytes->contains(text)) << text;
  }
  const domain::StoredAnswer again = replayed(scope(1));
  EXPECT_EQ(again.status, 201);
  EXPECT_EQ(again.body, body);
  ASSERT_EQ(again.headers.size(), 2U);
  EXPECT_EQ(again.headers.at(1).value, "session=canary");
  EXPECT_EQ(drift(), 0);
}

TEST_P(KeptAnswers, CountAsNotKeptWhenTheirKeyIsGone) {
  const auto with = [](std::shared_ptr<const domain::AnswerKey> key) {
    domain::IdempotencyScope of = scope(1);
    of.answer_key = std::move(key);
    return of;
  };
  for (const auto& other :
       {answer_key("k2", 'k'), answer_key("k1", 'x'), std::shared_ptr<const domain::AnswerKey>{}}) {
    answer(1, 10);
    EXPECT_EQ(claim(with(other)), ClaimKind::fresh);
    EXPECT_TRUE(log_->has("idempotency.unreadable"));
    EXPECT_EQ(drift(), 0);
    EXPECT_EQ(claim(scope(1)), ClaimKind::in_progress) << "it runs again";
    complete(scope(1), 20);
    EXPECT_EQ(replayed(scope(1)).body, std::string(20, 'a'));
    EXPECT_EQ(drift(), 0);
    p().clock().advance(std::chrono::hours{25});
  }
}

TEST_P(KeptAnswers, OpenInTheirOwnPlaceOnly) {
  answer(1, 10);
  const std::string kept = stored();
  answer(2, 10);
  store("response", sql::Blob{kept});
  EXPECT_EQ(claim(scope(1)), ClaimKind::replay);
  EXPECT_EQ(claim(scope(2)), ClaimKind::fresh) << "moved here from another request";
  store("tenant", "t2");
  EXPECT_EQ(claim(scope(1, "t2")), ClaimKind::fresh) << "and from another tenant";
}

TEST_P(KeptAnswers, ThatCannotBeReadLetNothingRunAgain) {
  answer(1, 10);
  const std::string right = stored();
  for (const char* text :
       {"", "{", "[]", "null", R"({"key":"k1","sealed":7})", R"({"key":"k1","sealed":"?"})",
        R"({"key":7,"sealed":"YQ=="})", R"({"sealed":"YQ=="})", R"({"status":200})",
        R"({"status":"x","headers":[],"body":""})", R"({"status":99999,"headers":[],"body":""})",
        R"({"status":200,"headers":{},"body":""})", R"({"status":200,"headers":[],"body":7})",
        R"({"status":200,"headers":["x-a"],"body":""})",
        R"({"status":200,"headers":[["x-a"]],"body":""})",
        R"({"status":200,"headers":[["x-a",7]],"body":""})",
        R"({"status":200,"headers":[[7,"Yg=="]],"body":""})"}) {
    store("response", sql::Blob{text});
    const auto claimed = async::block_on(
        p().plane().idempotency().claim(scope(1), "digest", std::chrono::seconds{30}));
    ASSERT_FALSE(claimed) << text;
    EXPECT_EQ(claimed.error().code, "idempotency.unavailable") << text;
    EXPECT_EQ(kept(), 1) << "it is still there: " << text;
  }
  EXPECT_TRUE(log_->has("sql.malformed_json"));
  EXPECT_FALSE(log_->has("idempotency.unreadable")) << "that one runs again";
  store("response", sql::Blob{right});
  EXPECT_EQ(replayed(scope(1)).body, std::string(10, 'a'));
}

TEST_P(KeptAnswers, AreNoneWithoutAKey) {
  domain::IdempotencyScope of = scope(1);
  of.answer_key = nullptr;
  EXPECT_EQ(claim(of), ClaimKind::fresh);
  complete(of, 10);
  EXPECT_EQ(number("SELECT count(*) FROM idempotency_records"), 0);
  EXPECT_EQ(claim(of), ClaimKind::fresh);
}

TEST_P(KeptAnswers, OfAnEarlierVersionAreRepeatedUntilTheyExpire) {
  answer(1, 10);
  store("response", sql::Blob{R"({"status":200,"headers":[["x-a","Yg=="]],"body":"aGk="})"});
  const domain::StoredAnswer again = replayed(scope(1));
  EXPECT_EQ(again.status, 200);
  EXPECT_EQ(again.headers.at(0).value, "b");
  EXPECT_EQ(again.body, "hi");
  p().clock().advance(std::chrono::hours{25});
  EXPECT_EQ(claim(scope(1)), ClaimKind::fresh);
}

TEST_P(KeptAnswers, AreBoundedInBytes) {
  for (int key = 0; key < 100; ++key) {
    answer(key, 600);
    ASSERT_EQ(claim(scope(key)), ClaimKind::replay) << key;
    ASSERT_LE(kept_bytes(), static_cast<std::int64_t>(kBytes));
  }
  EXPECT_GE(kept(), 16) << "one of each sixteenth at least";
  EXPECT_EQ(drift(), 0);
  EXPECT_GT(metrics_.of("idempotent_answers"), 0);
}

TEST_P(KeptAnswers, GoOldestFirst) {
  std::map<std::string, std::vector<std::string>> of_shard;  // keys in the order of their answers
  for (int key = 0; key < 300; ++key) {
    answer(key, 10);
    const auto of = scope(key);
    const auto sized = [](const std::string& text) {
      return std::to_string(text.size()) + ":" + text + ":";
    };
    const std::string hashed = crypto::sha256_hex(sized(of.caller) + sized(of.endpoint) + of.key);
    of_shard[hashed.substr(0, 1)].push_back(hashed);
  }
  auto rows = p().database().read([&](sql::Executor& sql) {
    return sql.query("SELECT scope FROM idempotency_records WHERE state = 'done'");
  });
  std::map<std::string, std::set<std::string>> left;
  for (const sql::Row& row : rows.value()) {
    auto hashed = row.at<std::string>(0);
    left[hashed.substr(0, 1)].insert(hashed);
  }
  ASSERT_EQ(left.size(), 16U);
  EXPECT_GT(metrics_.of("idempotent_answers"), 0) << "some have gone";
  for (const auto& [shard, keys] : left) {
    const auto& order = of_shard[shard];
    const std::set<std::string> newest(order.end() - static_cast<std::ptrdiff_t>(keys.size()),
                                       order.end());
    EXPECT_EQ(keys, newest) << shard;
  }
}

TEST_P(KeptAnswers, NeverTakeThePlaceOfARequestThatStillRuns) {
  for (int key = 1'000; key < 1'040; ++key) ASSERT_EQ(claim(scope(key)), ClaimKind::fresh);
  for (int key = 0; key < 300; ++key) answer(key, 600);
  EXPECT_GT(metrics_.of("idempotent_answers"), 0);
  for (int key = 1'000; key < 1'040; ++key) {
    EXPECT_EQ(claim(scope(key)), ClaimKind::in_progress) << key;
  }
  complete(scope(1'000), 10);
  EXPECT_EQ(claim(scope(1'000)), ClaimKind::replay);
  EXPECT_EQ(drift(), 0);
}

TEST_P(KeptAnswers, StopBeingCountedWhenTheyExpire) {
  for (int key = 0; key < 20; ++key) answer(key, 100);
  p().clock().advance(std::chrono::hours{25});
  answer(3, 50);  // over one that has expired and was not swept
  EXPECT_EQ(drift(), 0);
  Dependencies deps;
  deps.database = &p().database();
  deps.clock = &p().clock();
  SystemRandom random;
  deps.random = &random;
  deps.metrics = &metrics_;
  const Core core(std::move(deps));
  SqlIdempotencyStore other_host(core);
  auto more = other_host.sweep();
  ASSERT_TRUE(more) << more.error().message;
  EXPECT_FALSE(*more);
  EXPECT_EQ(kept(), 1);
  EXPECT_EQ(drift(), 0);
}

TEST_P(KeptAnswers, LetNoRacePastTheirBudget) {
  constexpr int kThreads = 4, kEach = 40;
  std::barrier start(kThreads);
  {
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([&, thread] {
        start.arrive_and_wait();
        for (int i = 0; i < kEach; ++i) answer(thread * 1'000 + i, 300);
      });
    }
  }
  EXPECT_LE(kept(), static_cast<std::int64_t>(kAnswers));
  EXPECT_LE(kept_bytes(), static_cast<std::int64_t>(kBytes));
  EXPECT_EQ(drift(), 0);
}

ALGA_ON_EVERY_DATABASE(KeptAnswers);

class KeptAnswersOfAnEarlierVersion : public sql::testing::OnEveryDatabase {};

TEST_P(KeptAnswersOfAnEarlierVersion, AreCountedWhenTheSchemaIsBroughtUpToDate) {
  const ManualClock clock;
  const auto steps = schema::migrations();
  ASSERT_TRUE(sql::migrate(*database_, steps.first(10), clock));
  auto filled = database_->write([](sql::Executor& sql) -> Status {
    const auto add = [&](const char* tenant, const char* key, std::optional<sql::Blob> response) {
      return sql.execute(
          "INSERT INTO idempotency_records (tenant, install_id, scope, request_digest, state, "
          "response, expires_at) VALUES ($1, 'i1', $2, 'd', $3, $4, 1)",
          {tenant, key, response ? "done" : "running", response});
    };
    TRY_VOID(add("t1", "a1", sql::Blob{"12345"}));
    TRY_VOID(add("t1", "a2", sql::Blob{"123"}));
    TRY_VOID(add("t1", "b1", sql::Blob{"1"}));
    TRY_VOID(add("t1", "b2", std::nullopt));
    TRY_VOID(add("t2", "a1", std::nullopt));
    return {};
  });
  ASSERT_TRUE(filled) << filled.error().message;
  ASSERT_TRUE(sql::migrate(*database_, steps, clock));
  auto rows = database_->read([](sql::Executor& sql) {
    return sql.query("SELECT tenant, shard, answers, bytes FROM idempotency_usage ORDER BY shard");
  });
  std::string usage;
  for (const sql::Row& row : rows.value()) {
    auto [tenant, shard, answers, bytes] =
        row.as<std::string, std::string, std::int64_t, std::int64_t>();
    usage +=
        tenant + " " + shard + " " + std::to_string(answers) + " " + std::to_string(bytes) + ";";
  }
  EXPECT_EQ(usage, "t1 a 2 8;t1 b 1 1;");
}

ALGA_ON_EVERY_DATABASE(KeptAnswersOfAnEarlierVersion);

}  // namespace
}  // namespace alga::control_plane
