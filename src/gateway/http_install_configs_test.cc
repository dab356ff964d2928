#include "gateway/http_install_configs.h"

#include <gtest/gtest.h>

#include <atomic>
#include <boost/json/serialize.hpp>
#include <functional>
#include <mutex>
#include <set>
#include <thread>

#include "async/deadline.h"
#include "async/spawn.h"
#include "domain/install_config_codec.h"
#include "httpd/testing_server.h"

namespace alga::gateway {
namespace {

class FakeFeed final : public domain::ChangeFeed {
 public:
  [[nodiscard]] View view() const override {
    const std::scoped_lock lock(mutex_);
    return view_;
  }
  void set(View view) {
    const std::scoped_lock lock(mutex_);
    view_ = view;
  }

 private:
  mutable std::mutex mutex_;
  View view_;
};

class HttpInstallConfigsTest : public ::testing::Test {
 protected:
  HttpInstallConfigsTest() {
    httpd::Router router;
    router.add("POST", "/internal/runner/install-config",
               [this](httpd::Request request) { return answer(this, std::move(request)); });
    server_ = std::make_unique<httpd::TestingServer>(std::move(router));
    make({});
  }
  static async::Task<httpd::Response> answer(HttpInstallConfigsTest* test, httpd::Request request) {
    ++test->questions_;
    if (request.header(domain::lease_holder_header)) ++test->held_questions_;
    // What the answer says is decided when the question arrives, however long it takes.
    const int generation = test->generation_;
    if (test->stalled_.exchange(false)) {
      const SystemClock real;
      while (!test->released_) co_await async::sleep_for(&real, std::chrono::milliseconds(1));
    }
    if (request.header("x-runner-auth") != "token") {
      co_return httpd::json_response(401, R"({"error":"unauthorized"})");
    }
    if (test->slow_) std::this_thread::sleep_for(std::chrono::milliseconds(200));
    if (test->status_ != 200) co_return httpd::json_response(test->status_, "{}");
    domain::InstallConfig config{.tenant = *TenantId::parse(test->answers_for_),
                                 .slug = "acme.tickets",
                                 .install = *InstallId::parse("i1"),
                                 .version = *VersionId::parse("v1"),
                                 .registry = *ExtensionId::parse("e1"),
                                 .content_hash = *ContentHash::parse(std::string(64, 'a')),
                                 .config_version = "c" + std::to_string(generation),
                                 .secrets_version = "s1",
                                 .grant = "grant",
                                 .grant_expires = test->clock_.wall() + test->grant_life_,
                                 .endpoints = {{"GET", "/a"}},
                                 .endpoints_declared = true,
                                 .generation = "g1"};
    if (test->sealed_for_.count() > 0) {
      config.envelope = domain::SecretEnvelope{
          .ciphertext_b64 = "c2VhbGVk",
          .version = "s1",
          .algorithm = "sealed:v1",
          .key_id = "k1",
          .expires_at = format_rfc3339(test->clock_.wall() + test->sealed_for_)};
    }
    if (test->brokered_) {
      config.envelope =
          domain::SecretEnvelope{.ciphertext_b64 = "token-" + std::to_string(++test->tokens_),
                                 .version = "s1",
                                 .algorithm = "broker-token:v1",
                                 .key_id = "k1"};
    }
    co_return httpd::json_response(200,
                                   boost::json::serialize(domain::install_config_to_json(config)));
  }
  void make(HttpInstallConfigs::Options options) {
    if (options.url.empty()) options.url = server_->origin() + "/";
    if (!options.token) options.token = [] { return Result<Secret>(Secret("token")); };
    configs_ = std::make_unique<HttpInstallConfigs>(std::move(options), client_, clock_, &feed_);
  }
  /// The version of the configuration, or the code of the refusal.
  std::string resolve(const std::string& extension = "e1") {
    const auto config = async::block_on(configs_->resolve(*TenantId::parse("t1"), extension));
    return config ? (*config)->config_version : std::string(config.error().code);
  }

  /// Whether it comes true while an answer travels.
  static bool soon(const std::function<bool()>& is_true) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds{30};
    while (!is_true()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return true;
  }

  /// The feed holds for a second from now, under this epoch.
  void hold(std::uint64_t epoch) {
    feed_.set({.epoch = epoch, .holding_until = clock_.steady() + std::chrono::seconds{1}});
  }

  ManualClock clock_;
  FakeFeed feed_;
  NoMetrics metrics_;
  egress::HttpClient client_{
      std::make_shared<egress::CurlLoop>(egress::CurlLoopOptions{}, metrics_)};
  std::atomic<int> questions_ = 0, held_questions_ = 0;
  std::atomic<bool> released_ = false;
  std::atomic<bool> stalled_ = false;
  std::atomic<int> generation_ = 1;
  std::atomic<bool> slow_ = false;
  std::atomic<bool> brokered_ = false;
  std::atomic<int> tokens_ = 0;
  std::atomic<std::uint16_t> status_ = 200;
  std::string answers_for_ = "t1";
  std::chrono::seconds grant_life_{60};
  std::chrono::seconds sealed_for_{0};
  std::unique_ptr<httpd::TestingServer> server_;
  std::unique_ptr<HttpInstallConfigs> configs_;
};

TEST_F(HttpInstallConfigsTest, AsksOncePerLeaseAndSeesTheChangeAfterIt) {
  EXPECT_EQ(resolve(), "c1");
  generation_ = 2;
  clock_.advance(std::chrono::milliseconds(999));
  EXPECT_EQ(resolve(), "c1");
  EXPECT_EQ(questions_, 1);
  clock_.advance(std::chrono::milliseconds(1));
  EXPECT_EQ(resolve(), "c2");
}

TEST_F(HttpInstallConfigsTest, AsksOnceUntilTheFeedTellsOfAChange) {
  hold(1);
  EXPECT_EQ(resolve(), "c1");
  for (int second = 0; second < 5; ++second) {
    clock_.advance(std::chrono::milliseconds(900));
    hold(1);
    EXPECT_EQ(resolve(), "c1");
  }
  EXPECT_EQ(questions_, 1) << "one poll renews the leases of all installs";
  EXPECT_EQ(held_questions_, 1);
  generation_ = 2;
  EXPECT_EQ(resolve(), "c1") << "not acknowledged: nobody was told";
  hold(2);
  EXPECT_EQ(resolve(), "c2");
  EXPECT_EQ(resolve(), "c2");
  EXPECT_EQ(questions_, 2);
}

TEST_F(HttpInstallConfigsTest, FallsBackToALeaseOfItsOwnWhenTheFeedIsLost) {
  hold(1);
  EXPECT_EQ(resolve(), "c1");
  generation_ = 2;
  clock_.advance(std::chrono::seconds(1));
  EXPECT_EQ(resolve(), "c2") << "nobody waits for this process any more";
  EXPECT_EQ(held_questions_, 1) << "and the control plane is told so";
  EXPECT_EQ(questions_, 2);
  clock_.advance(std::chrono::milliseconds(999));
  EXPECT_EQ(resolve(), "c2");
  EXPECT_EQ(questions_, 2);
  hold(1);
  clock_.advance(std::chrono::milliseconds(1));
  EXPECT_EQ(resolve(), "c2") << "what was asked without the feed is not renewed by it";
  EXPECT_EQ(questions_, 3);
}

TEST_F(HttpInstallConfigsTest, GivesNobodyAnAnswerThatWasAskedForBeforeItsChange) {
  for (const bool held : {true, false}) {
    make({.timeout = std::chrono::seconds(30)});
    released_ = false;
    generation_ = 1;
    if (held) {
      hold(1);
    } else {
      feed_.set({});
    }
    stalled_ = true;
    std::string early;
    std::jthread first([&] { early = resolve(); });
    while (stalled_) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    // A change is acknowledged while the answer is on its way, at the earliest when this is over:
    generation_ = 2;
    if (held) {
      hold(2);
    } else {
      clock_.advance(std::chrono::milliseconds(1000));
    }
    EXPECT_EQ(resolve(), "c2") << "held: " << held;
    released_ = true;
    first.join();
    EXPECT_EQ(early, "c1") << "who began before may be given what was true then";
    EXPECT_EQ(resolve(), "c2") << "and it is not kept";
  }
}

TEST_F(HttpInstallConfigsTest, OutlivesNoEnvelope) {
  sealed_for_ = std::chrono::seconds(8);
  hold(1);
  EXPECT_EQ(resolve(), "c1");
  generation_ = 2;
  clock_.advance(std::chrono::seconds(4));
  hold(1);
  EXPECT_EQ(resolve(), "c2");
}

TEST_F(HttpInstallConfigsTest, ServesNothingOnceItCannotAsk) {
  EXPECT_EQ(resolve(), "c1");
  clock_.advance(std::chrono::seconds(1));
  status_ = 503;
  EXPECT_EQ(resolve(), "install.unavailable");
  server_.reset();
  EXPECT_EQ(resolve(), "install.unavailable");
}

TEST_F(HttpInstallConfigsTest, AsksAheadAndServesMeanwhile) {
  hold(1);
  EXPECT_EQ(resolve(), "c1");
  generation_ = 2;
  clock_.advance(std::chrono::milliseconds(9'999));
  hold(1);
  EXPECT_EQ(resolve(), "c1");
  EXPECT_EQ(questions_, 1);
  clock_.advance(std::chrono::milliseconds(1));
  hold(1);
  stalled_ = true;
  for (int i = 0; i < 3; ++i) EXPECT_EQ(resolve(), "c1") << "nobody waits for the answer";
  released_ = true;
  EXPECT_TRUE(soon([&] { return resolve() == "c2"; }));
  EXPECT_EQ(questions_, 2) << "and one of them asked";
  clock_.advance(std::chrono::seconds(9));
  hold(1);
  EXPECT_EQ(resolve(), "c2");
  EXPECT_EQ(questions_, 2) << "its time begins anew";
}

TEST_F(HttpInstallConfigsTest, OutlivesAControlPlaneThatIsAwayForAMoment) {
  hold(1);
  EXPECT_EQ(resolve(), "c1");
  clock_.advance(std::chrono::seconds(10));
  status_ = 503;
  for (int second = 0; second < 20; ++second) {
    hold(1);
    EXPECT_TRUE(soon([&] { return resolve() == "c1" && questions_ == 2 + second; }))
        << "it asks once a second";
    EXPECT_EQ(resolve(), "c1");
    EXPECT_EQ(questions_, 2 + second);
    clock_.advance(std::chrono::seconds(1));
  }
  hold(1);
  EXPECT_EQ(resolve(), "install.unavailable") << "half the life of the grant is over";
  status_ = 200;
  generation_ = 2;
  EXPECT_TRUE(soon([&] { return resolve() == "c2"; }));
}

TEST_F(HttpInstallConfigsTest, TouchesNothingWhenItsRenewalOutlivesIt) {
  auto feed = std::make_unique<FakeFeed>();
  feed->set({.epoch = 1, .holding_until = clock_.steady() + std::chrono::minutes{1}});
  HttpInstallConfigs::Options options{.url = server_->origin(),
                                      .token = [] { return Result<Secret>(Secret("token")); },
                                      .timeout = std::chrono::seconds(30)};
  auto configs = std::make_unique<HttpInstallConfigs>(options, client_, clock_, feed.get());
  ASSERT_TRUE(async::block_on(configs->resolve(*TenantId::parse("t1"), "e1")));
  clock_.advance(std::chrono::seconds(10));
  stalled_ = true;
  ASSERT_TRUE(async::block_on(configs->resolve(*TenantId::parse("t1"), "e1")));
  ASSERT_TRUE(soon([&] { return !stalled_; })) << "the renewal is under way";
  configs.reset();
  feed.reset();
  released_ = true;
  // An answer that comes later than that of the renewal: by then it has been dealt with.
  EXPECT_EQ(resolve(), "c1");
}

TEST_F(HttpInstallConfigsTest, DropsAnInstallThatIsGoneWhenItAsksAhead) {
  hold(1);
  EXPECT_EQ(resolve(), "c1");
  clock_.advance(std::chrono::seconds(10));
  hold(1);
  status_ = 404;
  EXPECT_EQ(resolve(), "c1");
  EXPECT_TRUE(soon([&] { return configs_->entries() == 0; }));
  EXPECT_EQ(resolve(), "install.not_found");
}

TEST_F(HttpInstallConfigsTest, DropsAnInstallThatIsGone) {
  EXPECT_EQ(resolve(), "c1");
  clock_.advance(std::chrono::seconds(1));
  status_ = 404;
  EXPECT_EQ(resolve(), "install.not_found");
  EXPECT_EQ(configs_->entries(), 0U);
}

TEST_F(HttpInstallConfigsTest, NeverOutlivesItsGrant) {
  grant_life_ = std::chrono::seconds(1);
  EXPECT_EQ(resolve(), "c1");
  generation_ = 2;
  clock_.advance(std::chrono::milliseconds(500));
  EXPECT_EQ(resolve(), "c2");
}

TEST_F(HttpInstallConfigsTest, KeepsAGrantNoLongerBecauseItsOwnClockIsBehind) {
  grant_life_ = std::chrono::minutes(61);  // what a minute is to a clock that is an hour behind
  hold(1);
  EXPECT_EQ(resolve(), "c1");
  generation_ = 2;
  clock_.advance(std::chrono::seconds(30));
  hold(1);
  EXPECT_EQ(resolve(), "c2");
}

TEST_F(HttpInstallConfigsTest, AsksOnceForManyAtOnce) {
  slow_ = true;
  std::vector<std::jthread> callers;
  std::atomic<int> served = 0;
  for (int i = 0; i < 6; ++i) {
    callers.emplace_back([&] { served += resolve() == "c1" ? 1 : 0; });
  }
  callers.clear();
  EXPECT_EQ(served, 6);
  EXPECT_EQ(questions_, 1);
}

TEST_F(HttpInstallConfigsTest, GivesEachRequestABrokerTokenOfItsOwn) {
  brokered_ = true;
  slow_ = true;
  std::mutex mutex;
  std::set<std::string> tokens;
  const auto ask = [&] {
    const auto config = async::block_on(configs_->resolve(*TenantId::parse("t1"), "e1"));
    const std::scoped_lock lock(mutex);
    tokens.insert((*config)->envelope->ciphertext_b64);
  };
  for (int round = 0; round < 2; ++round) {
    std::vector<std::jthread> callers;
    for (int i = 0; i < 4; ++i) callers.emplace_back(ask);
  }
  EXPECT_EQ(tokens.size(), 8U) << "none is shared, none is kept";
  EXPECT_EQ(configs_->entries(), 0U);
  // When the platform goes back to envelopes, so do we.
  brokered_ = false;
  slow_ = false;
  EXPECT_EQ(resolve(), "c1");
  const int before = questions_;
  EXPECT_EQ(resolve(), "c1");
  EXPECT_EQ(resolve(), "c1");
  EXPECT_LE(questions_, before + 1);
}

TEST_F(HttpInstallConfigsTest, RefusesTheInstallOfAnotherTenant) {
  answers_for_ = "t2";
  EXPECT_EQ(resolve(), "install.unavailable");
}

TEST_F(HttpInstallConfigsTest, RefusesAWrongTokenAndAMissingOne) {
  make({.token = [] { return Result<Secret>(Secret("wrong")); }});
  EXPECT_EQ(resolve(), "install.unavailable");
  make({.token = [] { return Result<Secret>(fail(Kind::unavailable, "vault.sealed", "")); }});
  EXPECT_EQ(resolve(), "install.unavailable");
}

TEST_F(HttpInstallConfigsTest, AsksNobodyAboutNamesThatAreNone) {
  for (const char* name : {"", "../x", "a\nb", "a b"})
    EXPECT_EQ(resolve(name), "install.not_found");
  EXPECT_EQ(questions_, 0);
}

TEST_F(HttpInstallConfigsTest, StaysWithinItsBound) {
  make({.max_entries = 2});
  for (const char* name : {"a", "b", "c", "d"}) EXPECT_EQ(resolve(name), "c1");
  EXPECT_EQ(configs_->entries(), 2U);
}

}  // namespace
}  // namespace alga::gateway
