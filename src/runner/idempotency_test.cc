#include "runner/idempotency.h"

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/testing_metrics.h"

namespace alga::runner {
namespace {

using domain::ExecuteRequest;
using domain::ExecuteResponse;
using State = Idempotency::State;

ExecuteResponse answer(std::string body) {
  return {.status = 201, .headers = {{"x-a", "1"}}, .body = std::move(body), .end_class = "ok"};
}
/// What `answer` counts besides its body: the header.
constexpr std::size_t header_size = 4;

ExecuteRequest request() {
  return {.request_id = "r1",
          .tenant = *TenantId::parse("t1"),
          .extension = *ExtensionId::parse("e1"),
          .install = InstallId::parse("i1"),
          .content_hash = *ContentHash::parse(std::string(64, 'a')),
          .http = {.method = "POST", .url = "/a?q=1", .headers = {}, .body = "body"},
          .idempotency_key = "k1"};
}

class IdempotencyTest : public ::testing::Test {
 protected:
  Idempotency& make(Idempotency::Options options) {
    store_ = std::make_unique<Idempotency>(options, clock_, metrics_);
    return *store_;
  }
  State claim(const std::string& key, const std::string& digest = "d") {
    return store_->claim(key, digest).state;
  }
  Idempotency::Claim claim(const ExecuteRequest& request) {
    return store_->claim(idempotency_scope(request), idempotency_digest(request));
  }
  /// A request that came, ran and was answered.
  void run(const std::string& key, const std::string& body) {
    ASSERT_EQ(claim(key), State::fresh) << key;
    store_->finish(key, answer(body));
  }

  double count(const std::string& series) { return metrics_.count(series); }

  ManualClock clock_;
  alga::testing::CountingMetrics metrics_;
  std::unique_ptr<Idempotency> store_ =
      std::make_unique<Idempotency>(Idempotency::Options{}, clock_, metrics_);
};

TEST_F(IdempotencyTest, RepeatsTheWholeAnswer) {
  EXPECT_EQ(claim("k"), State::fresh);
  store_->finish("k", answer("hi"));
  for (int i = 0; i < 2; ++i) {
    const Idempotency::Claim again = store_->claim("k", "d");
    EXPECT_EQ(again.state, State::replay);
    EXPECT_EQ(again.answer.status, 201);
    EXPECT_EQ(again.answer.body, "hi");
    ASSERT_EQ(again.answer.headers.size(), 1U);
    EXPECT_EQ(again.answer.headers[0].name, "x-a");
    EXPECT_EQ(again.answer.headers[0].value, "1");
    EXPECT_EQ(again.answer.end_class, "ok");
  }
}

TEST_F(IdempotencyTest, ForgetsAnAnswerWhenItsTimeIsOver) {
  make({.life = std::chrono::seconds{60}});
  ASSERT_EQ(claim("k"), State::fresh);
  clock_.advance(std::chrono::seconds{30});  // its time begins when it is answered
  store_->finish("k", answer("first"));
  clock_.advance(std::chrono::milliseconds{59'999});
  EXPECT_EQ(claim("k"), State::replay);
  EXPECT_EQ(claim("k", "other"), State::mismatch);
  clock_.advance(std::chrono::milliseconds{1});
  EXPECT_EQ(claim("k", "other"), State::fresh) << "the key is free for anything";
  store_->finish("k", answer("second"));
  EXPECT_EQ(store_->claim("k", "other").answer.body, "second");
  EXPECT_EQ(claim("k"), State::mismatch);
}

TEST_F(IdempotencyTest, NeverForgetsWhatStillRuns) {
  make({.life = std::chrono::seconds{60}});
  ASSERT_EQ(claim("k"), State::fresh);
  clock_.advance(std::chrono::hours{1});
  EXPECT_EQ(claim("k"), State::in_progress);
  EXPECT_EQ(claim("k", "other"), State::mismatch);
}

TEST_F(IdempotencyTest, TellsWhatStillRunsFromWhatIsAnotherRequest) {
  const ExecuteRequest first = request();
  ExecuteRequest other = request();
  other.http.body = "another body";
  ASSERT_EQ(claim(first).state, State::fresh);
  EXPECT_EQ(claim(first).state, State::in_progress);
  EXPECT_EQ(claim(other).state, State::mismatch) << "waiting would not help it";
  store_->finish(idempotency_scope(first), answer("hi"));
  EXPECT_EQ(claim(first).state, State::replay);
  EXPECT_EQ(claim(other).state, State::mismatch);
  EXPECT_FALSE(claim(other).answer.body) << "nobody sees the answer to another request";
}

TEST_F(IdempotencyTest, RunsAgainWhatHadNoAnswer) {
  ASSERT_EQ(claim("k"), State::fresh);
  store_->finish("k", std::nullopt);
  EXPECT_EQ(store_->bytes(), 0U);
  EXPECT_EQ(claim("k", "other"), State::fresh);
}

TEST_F(IdempotencyTest, KeepsTheFirstAnswer) {
  run("k", "first");
  store_->finish("k", answer("second"));
  store_->finish("k", std::nullopt);
  EXPECT_EQ(store_->claim("k", "d").answer.body, "first");
  store_->finish("never claimed", answer("x"));
  EXPECT_EQ(claim("never claimed"), State::fresh);
}

TEST_F(IdempotencyTest, KeepsNoAnswerAboveItsSize) {
  make({.max_answer_bytes = 100});
  run("fits", std::string(100 - header_size, 'x'));
  run("too large", std::string(101 - header_size, 'x'));
  EXPECT_EQ(claim("fits"), State::replay);
  const std::size_t before = store_->bytes();
  EXPECT_EQ(claim("too large"), State::fresh) << "it runs again";
  store_->finish("too large", std::nullopt);
  EXPECT_EQ(store_->bytes(), before);
}

TEST_F(IdempotencyTest, GivesUpTheOldestAnswersWhenItsBytesAreUsed) {
  // A key and a digest of one byte each, a header of four and a body of 94: 100 each.
  make({.max_bytes = 300});
  for (const char* key : {"a", "b", "c"}) run(key, std::string(94, 'x'));
  EXPECT_EQ(store_->bytes(), 300U);
  for (const char* key : {"a", "b", "c"}) EXPECT_EQ(claim(key), State::replay) << key;
  run("d", std::string(94, 'x'));
  EXPECT_EQ(store_->bytes(), 300U);
  EXPECT_EQ(claim("b"), State::replay);
  EXPECT_EQ(claim("c"), State::replay);
  EXPECT_EQ(claim("d"), State::replay);
  EXPECT_EQ(count("alga_runner_idempotency_not_kept_total{no_room}"), 1);
  EXPECT_EQ(claim("a"), State::fresh) << "it came first";
  EXPECT_LE(store_->bytes(), 300U);
}

TEST_F(IdempotencyTest, GivesUpTheOldestAnswersForOneThatComesLate) {
  make({.max_bytes = 300});
  for (const char* key : {"a", "b"}) run(key, std::string(94, 'x'));
  ASSERT_EQ(claim("c"), State::fresh);
  EXPECT_EQ(store_->bytes(), 202U) << "nobody has left for it yet";
  store_->finish("c", answer(std::string(95, 'x')));
  EXPECT_EQ(store_->bytes(), 201U);
  EXPECT_EQ(claim("b"), State::replay);
  EXPECT_EQ(claim("c"), State::replay);
  EXPECT_EQ(claim("a"), State::fresh);
}

TEST_F(IdempotencyTest, TakesNoPlaceFromWhatStillRuns) {
  make({.max_running_bytes = 10});
  ASSERT_EQ(claim("aaaa"), State::fresh);
  ASSERT_EQ(claim("bbbb"), State::fresh);
  EXPECT_EQ(claim("c"), State::full) << "both places are taken by what runs";
  EXPECT_EQ(count("alga_runner_idempotency_total{full}"), 1);
  EXPECT_EQ(claim("aaaa"), State::in_progress);
  EXPECT_EQ(claim("bbbb"), State::in_progress);
  store_->finish("aaaa", std::nullopt);
  EXPECT_EQ(claim("c"), State::fresh);
}

TEST_F(IdempotencyTest, KeepsAsManyAnswersAsAllowed) {
  make({.max_entries = 2});
  run("a", "first");
  run("b", "second");
  EXPECT_EQ(claim("a"), State::replay);
  EXPECT_EQ(claim("b"), State::replay);
  EXPECT_EQ(count("alga_runner_idempotency_not_kept_total{no_room}"), 0);
  run("c", "third");
  EXPECT_EQ(claim("b"), State::replay);
  EXPECT_EQ(claim("c"), State::replay);
  EXPECT_EQ(count("alga_runner_idempotency_not_kept_total{no_room}"), 1);
  EXPECT_EQ(claim("a"), State::fresh);
}

TEST_F(IdempotencyTest, GivesUpWhatHasExpiredBeforeWhatHasNot) {
  make({.max_entries = 3, .life = std::chrono::seconds{60}});
  ASSERT_EQ(claim("came first, answered last"), State::fresh);
  run("expires", "x");
  clock_.advance(std::chrono::seconds{30});
  store_->finish("came first, answered last", answer("x"));
  run("lives", "x");
  clock_.advance(std::chrono::seconds{30});
  run("new", "x");
  EXPECT_EQ(claim("came first, answered last"), State::replay);
  EXPECT_EQ(claim("lives"), State::replay);
  EXPECT_EQ(claim("new"), State::replay);
  EXPECT_EQ(count("alga_runner_idempotency_not_kept_total{no_room}"), 0);
}

TEST_F(IdempotencyTest, HoldsNothingOfWhatHasExpired) {
  make({.life = std::chrono::seconds{60}});
  for (const char* key : {"a", "b", "c"}) run(key, std::string(1000, 'x'));
  clock_.advance(std::chrono::seconds{60});
  ASSERT_EQ(claim("d"), State::fresh);
  EXPECT_EQ(store_->bytes(), 2U) << "the key and the digest of the one that runs";
  EXPECT_EQ(count("alga_runner_idempotency_bytes"), 2);
}

TEST_F(IdempotencyTest, WithoutMemoryForAnswersOnlyWhatRunsAtOnceRunsOnce) {
  for (const std::size_t bytes : {0U, 1U, 20U}) {
    make({.max_bytes = bytes});
    ASSERT_EQ(claim("k"), State::fresh) << bytes;
    EXPECT_EQ(claim("k"), State::in_progress) << bytes;
    EXPECT_EQ(claim("k", "other"), State::mismatch) << bytes;
    ASSERT_EQ(claim("another"), State::fresh) << bytes;
    store_->finish("k", answer(std::string(100, 'x')));
    EXPECT_EQ(claim("another"), State::in_progress) << bytes;
    EXPECT_EQ(claim("k", "other"), State::fresh) << bytes;
    store_->finish("k", std::nullopt);
    store_->finish("another", std::nullopt);
    EXPECT_EQ(store_->bytes(), 0U) << bytes;
  }
  EXPECT_EQ(count("alga_runner_idempotency_total{full}"), 0);
}

TEST_F(IdempotencyTest, CountsWhatItMadeOfEachRequestAndWhatItDidNotKeep) {
  make({.max_answer_bytes = 100});
  run("k", "x");
  claim("k");
  claim("k");
  claim("k", "other");
  run("large", std::string(200, 'x'));
  ASSERT_EQ(claim("runs"), State::fresh);
  claim("runs");
  EXPECT_EQ(count("alga_runner_idempotency_total{fresh}"), 3);
  EXPECT_EQ(count("alga_runner_idempotency_total{replay}"), 2);
  EXPECT_EQ(count("alga_runner_idempotency_total{mismatch}"), 1);
  EXPECT_EQ(count("alga_runner_idempotency_total{in_progress}"), 1);
  EXPECT_EQ(count("alga_runner_idempotency_not_kept_total{too_large}"), 1);
  EXPECT_EQ(count("alga_runner_idempotency_bytes"), static_cast<double>(store_->bytes()));
}

TEST_F(IdempotencyTest, TakesNoMoreKeysAtOnceThanAllowed) {
  make({.max_entries = 2});
  ASSERT_EQ(claim("a"), State::fresh);
  ASSERT_EQ(claim("b"), State::fresh);
  EXPECT_EQ(claim("c"), State::full);
  store_->finish("a", std::nullopt);
  EXPECT_EQ(claim("c"), State::fresh);
}

TEST_F(IdempotencyTest, KnowsAKeyForItsTenantExtensionAndInstallOnly) {
  ASSERT_EQ(claim(request()).state, State::fresh);
  store_->finish(idempotency_scope(request()), answer("of t1, e1, i1"));
  const std::vector<std::pair<const char*, std::function<void(ExecuteRequest&)>>> others = {
      {"tenant", [](auto& it) { it.tenant = *TenantId::parse("t2"); }},
      {"extension", [](auto& it) { it.extension = *ExtensionId::parse("e2"); }},
      {"install", [](auto& it) { it.install = InstallId::parse("i2"); }},
      {"no install", [](auto& it) { it.install.reset(); }},
      {"key", [](auto& it) { it.idempotency_key = "k2"; }}};
  for (const auto& [what, change] : others) {
    ExecuteRequest other = request();
    change(other);
    const Idempotency::Claim claimed = claim(other);
    EXPECT_EQ(claimed.state, State::fresh) << what;
    EXPECT_FALSE(claimed.answer.body) << what;
    store_->finish(idempotency_scope(other), answer(what));
  }
  EXPECT_EQ(claim(request()).answer.body, "of t1, e1, i1") << "and nobody has taken its place";
}

TEST_F(IdempotencyTest, HoldsWhatMakesTwoRequestsTheSame) {
  const std::string digest = idempotency_digest(request());
  const std::vector<std::pair<const char*, std::function<void(ExecuteRequest&)>>> different = {
      {"bundle", [](auto& it) { it.content_hash = *ContentHash::parse(std::string(64, 'b')); }},
      {"method", [](auto& it) { it.http.method = "PUT"; }},
      {"URL", [](auto& it) { it.http.url = "/a?q=2"; }},
      {"body", [](auto& it) { it.http.body = "Body"; }},
      {"empty body", [](auto& it) { it.http.body = ""; }},
      {"no body", [](auto& it) { it.http.body.reset(); }},
      {"no base64",
       [](auto& it) {
         it.http.body.reset();
         it.malformed_body = true;
       }},
      {"user", [](auto& it) { it.user.emplace().user_id = "u1"; }},
      {"a byte moved", [](auto& it) {
         it.http.method = "POS";
         it.http.url = "T/a?q=1";
       }}};
  std::vector<std::string> seen{digest};
  for (const auto& [what, change] : different) {
    ExecuteRequest other = request();
    change(other);
    const std::string of_other = idempotency_digest(other);
    for (const std::string& known : seen) EXPECT_NE(of_other, known) << what;
    seen.push_back(of_other);
  }
  ExecuteRequest retry = request();
  retry.request_id = "r2";
  retry.grant = "another one";
  retry.traceparent = "another one";
  retry.envelope = domain::SecretEnvelope{.ciphertext_b64 = "another one"};
  EXPECT_EQ(idempotency_digest(retry), digest);
}

}  // namespace
}  // namespace alga::runner
