#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <latch>
#include <map>
#include <thread>
#include <vector>

#include "archive/testing.h"
#include "vault/testing_contract.h"
#include "vault/testing_vault.h"

namespace alga::vault {
namespace {

using testing::FakeVault;
using ::testing::HasSubstr;
using ::testing::Not;

/// Counts by outcome, and how often a time was taken.
class Outcomes final : public Metrics {
 public:
  Counter& counter(std::string_view, std::string_view, Labels labels) override {
    return counters_[std::string(labels.begin()->second)];
  }
  Gauge& gauge(std::string_view, std::string_view, Labels) override {
    return static_cast<Metrics&>(none_).gauge("", "");
  }
  Histogram& histogram(std::string_view, std::string_view, std::span<const double>,
                       Labels) override {
    return times_;
  }
  [[nodiscard]] int count(const std::string& outcome) { return counters_[outcome].value; }
  [[nodiscard]] int times() const { return times_.value; }

 private:
  struct One final : Counter {
    void add(double amount) noexcept override { value += static_cast<int>(amount); }
    int value = 0;
  };
  struct Times final : Histogram {
    void observe(double) noexcept override { ++value; }
    int value = 0;
  };
  std::map<std::string, One> counters_;
  Times times_;
  NoMetrics none_;
};

class Vault : public ::testing::Test {
 protected:
  VaultClient::Options options() {
    return {.address = "http://vault.test:8200/",
            .pause = [this](std::chrono::milliseconds) { ++pauses_; }};
  }
  VaultClient client(std::unique_ptr<VaultLogin> login) {
    return VaultClient(options(), std::move(login), vault_, clock_);
  }
  std::filesystem::path write(const std::string& name, const std::string& text) {
    std::ofstream(directory_.path() / name) << text;
    return directory_.path() / name;
  }
  static std::string code(const Result<json::Value>& answer) {
    return answer ? "ok" : std::string(answer.error().code);
  }
  FakeVault vault_;
  ManualClock clock_;
  int pauses_ = 0;
  archive::testing::TemporaryDirectory directory_;
};

TEST_F(Vault, TheFakeKeepsTheContract) {
  testing::expect_vault(vault_, clock_, "http://vault.test:8200", "root");
}

TEST_F(Vault, SendsItsNamespace) {
  VaultClient::Options with = options();
  with.name_space = "team-a";
  VaultClient named(with, std::make_unique<StaticToken>(Secret("root")), vault_, clock_);
  EXPECT_EQ(code(named.call("GET", "transit/keys/alga")), "ok");
  EXPECT_EQ(vault_.last_namespace, "team-a");
}

TEST_F(Vault, ReadsATokenFileAgainWhenItChanges) {
  const auto file = write("token", "root\n");
  VaultClient reader = client(std::make_unique<TokenFile>(file));
  EXPECT_EQ(code(reader.call("GET", "transit/keys/alga")), "ok");
  vault_.good_token = "second";
  write("token.new", "second");
  std::filesystem::rename(directory_.path() / "token.new", file);
  EXPECT_EQ(code(reader.call("GET", "transit/keys/alga")), "ok");
  std::filesystem::remove(file);
  EXPECT_EQ(code(reader.call("GET", "transit/keys/alga")), "ok")
      << "still good while being replaced";
}

TEST_F(Vault, SaysWhatIsWrongWithATokenFile) {
  EXPECT_EQ(code(client(std::make_unique<TokenFile>(write("e", "\n"))).call("GET", "x/y")),
            "vault.no_token");
  EXPECT_EQ(code(client(std::make_unique<TokenFile>(write("n", "a\nb"))).call("GET", "x/y")),
            "vault.no_token");
  EXPECT_EQ(code(client(std::make_unique<TokenFile>(write("l", std::string(20'000, 'x'))))
                     .call("GET", "x/y")),
            "vault.no_token");
  EXPECT_EQ(code(client(std::make_unique<TokenFile>("/nonexistent")).call("GET", "x/y")),
            "vault.no_token");
  EXPECT_EQ(code(client(nullptr).call("GET", "x/y")), "vault.no_token");
  EXPECT_EQ(vault_.calls, 0);
}

TEST_F(Vault, LogsInWithAppRoleAndKubernetes) {
  VaultClient role = client(std::make_unique<AppRoleLogin>(
      "role", credential_file(write("secret-id", "the-secret-id\n"))));
  EXPECT_EQ(code(role.call("GET", "transit/keys/alga")), "ok");
  EXPECT_EQ(code(role.call("GET", "transit/keys/alga")), "ok");
  EXPECT_EQ(vault_.logins, 1) << "one login serves many calls";
  VaultClient pod =
      client(std::make_unique<KubernetesLogin>("role", "kubernetes", write("jwt", "the-jwt")));
  EXPECT_EQ(code(pod.call("GET", "transit/keys/alga")), "ok");
  VaultClient wrong =
      client(std::make_unique<AppRoleLogin>("role", credential_file(write("bad", "guess"))));
  EXPECT_EQ(code(wrong.call("GET", "transit/keys/alga")), "vault.bad_request");
  VaultClient mount = client(std::make_unique<AppRoleLogin>(
      "role", credential_file(write("s", "the-secret-id")), "../sys"));
  EXPECT_EQ(code(mount.call("GET", "transit/keys/alga")), "vault.invalid_name");
}

TEST_F(Vault, RenewsItsTokenInTimeAndLogsInAgainWhenItCannot) {
  VaultClient role = client(
      std::make_unique<AppRoleLogin>("role", credential_file(write("secret-id", "the-secret-id"))));
  ASSERT_EQ(code(role.call("GET", "transit/keys/alga")), "ok");
  clock_.advance(std::chrono::minutes(30));
  ASSERT_EQ(code(role.call("GET", "transit/keys/alga")), "ok");
  EXPECT_EQ(vault_.renewals, 0);
  clock_.advance(std::chrono::minutes(11));
  ASSERT_EQ(code(role.call("GET", "transit/keys/alga")), "ok");
  EXPECT_EQ(vault_.renewals, 1);
  EXPECT_EQ(vault_.logins, 1);
  vault_.renewable = false;
  clock_.advance(std::chrono::minutes(55));
  ASSERT_EQ(code(role.call("GET", "transit/keys/alga")), "ok");
  EXPECT_EQ(vault_.logins, 2);
}

TEST_F(Vault, RenewsAConfiguredTokenWhoseLifeItHasLearned) {
  VaultClient::Options learning = options();
  learning.learn_lifetimes = true;
  VaultClient caller(learning, std::make_unique<TokenFile>(write("token", "root")), vault_, clock_);
  ASSERT_EQ(code(caller.call("GET", "transit/keys/alga")), "ok");
  EXPECT_TRUE(caller.tend());
  EXPECT_EQ(vault_.renewals, 0) << "not due";
  clock_.advance(std::chrono::minutes(45));
  EXPECT_TRUE(caller.tend()) << "nobody calls, and yet";
  EXPECT_EQ(vault_.renewals, 1);
  vault_.renewable = false;
  clock_.advance(std::chrono::minutes(45));
  for (int i = 0; i < 10; ++i) EXPECT_EQ(code(caller.call("GET", "transit/keys/alga")), "ok");
  EXPECT_EQ(vault_.renewals, 2) << "a renewal that fails is not repeated with every call";
}

TEST_F(Vault, UsesATokenThatMayNotLookUpItselfUntilItIsReplaced) {
  VaultClient::Options learning = options();
  learning.learn_lifetimes = true;
  vault_.may_look_up = false;
  VaultClient caller(learning, std::make_unique<StaticToken>(Secret("root")), vault_, clock_);
  EXPECT_EQ(code(caller.call("GET", "transit/keys/alga")), "ok");
  clock_.advance(std::chrono::hours(1000));
  EXPECT_EQ(code(caller.call("GET", "transit/keys/alga")), "ok");
  EXPECT_EQ(vault_.renewals, 0);
}

TEST_F(Vault, RepeatsWhyItRests) {
  VaultClient caller = client(std::make_unique<StaticToken>(Secret("root")));
  vault_.before_answer = [this](const domain::HttpRequest&) {
    vault_.answer_once = domain::HttpResponse{.status = 429, .headers = {}, .body = {}};
  };
  EXPECT_EQ(code(caller.call("GET", "transit/keys/alga")), "vault.rate_limited");
  vault_.before_answer = {};
  EXPECT_EQ(code(caller.call("GET", "transit/keys/alga")), "vault.rate_limited");
}

TEST_F(Vault, ReplacesATokenThatWasRevoked) {
  VaultClient role = client(
      std::make_unique<AppRoleLogin>("role", credential_file(write("secret-id", "the-secret-id"))));
  ASSERT_EQ(code(role.call("GET", "transit/keys/alga")), "ok");
  vault_.good_token = "after revocation";
  EXPECT_EQ(code(role.call("GET", "transit/keys/alga")), "ok");
  EXPECT_EQ(vault_.logins, 2);
}

TEST_F(Vault, DoesNotRepeatARefusalWithTheSameToken) {
  VaultClient stranger = client(std::make_unique<StaticToken>(Secret("wrong")));
  EXPECT_EQ(code(stranger.call("GET", "transit/keys/alga")), "vault.denied");
  EXPECT_EQ(vault_.calls, 1);
}

TEST_F(Vault, TriesAgainThenRestsSoThatNoStormBreaksLoose) {
  VaultClient caller = client(std::make_unique<StaticToken>(Secret("root")));
  vault_.answer_once = domain::HttpResponse{.status = 500, .headers = {}, .body = {}};
  EXPECT_EQ(code(caller.call("GET", "transit/keys/alga")), "ok");
  EXPECT_EQ(pauses_, 1);
  vault_.answer_once = domain::HttpResponse{.status = 429, .headers = {}, .body = {}};
  EXPECT_EQ(code(caller.call("GET", "transit/keys/alga")), "ok");
  vault_.down = true;
  const int before = vault_.calls;
  EXPECT_EQ(code(caller.call("GET", "transit/keys/alga")), "vault.unavailable");
  EXPECT_EQ(vault_.calls, before + 3);
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(code(caller.call("GET", "transit/keys/alga")), "vault.unavailable");
  }
  EXPECT_EQ(vault_.calls, before + 3) << "a thousand callers cost Vault nothing";
  vault_.down = false;
  clock_.advance(std::chrono::milliseconds(1001));
  EXPECT_EQ(code(caller.call("GET", "transit/keys/alga")), "ok");
}

TEST_F(Vault, CountsEveryRequestByItsOutcomeAndNoneThatItSparedVault) {
  Outcomes outcomes;
  VaultClient::Options counted = options();
  counted.metrics = &outcomes;
  VaultClient caller(counted, std::make_unique<StaticToken>(Secret("root")), vault_, clock_);
  EXPECT_EQ(code(caller.call("GET", "transit/keys/alga")), "ok");
  vault_.answer_once = domain::HttpResponse{.status = 429, .headers = {}, .body = {}};
  EXPECT_EQ(code(caller.call("GET", "transit/keys/alga")), "ok");
  vault_.answer_once = domain::HttpResponse{.status = 404, .headers = {}, .body = {}};
  EXPECT_EQ(code(caller.call("GET", "transit/keys/alga")), "vault.not_found");
  vault_.sealed = true;
  EXPECT_EQ(code(caller.call("GET", "transit/keys/alga")), "vault.sealed");
  vault_.sealed = false;
  vault_.down = true;
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(code(caller.call("GET", "transit/keys/alga")), "vault.unavailable");
  }
  EXPECT_EQ(outcomes.count("ok"), 2);
  EXPECT_EQ(outcomes.count("rate_limited"), 1);
  EXPECT_EQ(outcomes.count("not_found"), 1);
  EXPECT_EQ(outcomes.count("sealed"), 1);
  EXPECT_EQ(outcomes.count("unavailable"), 3) << "three attempts, then it rests";
  EXPECT_EQ(outcomes.times(), 8);
}

TEST_F(Vault, SaysThatItIsSealed) {
  VaultClient caller = client(std::make_unique<StaticToken>(Secret("root")));
  vault_.sealed = true;
  EXPECT_EQ(code(caller.call("GET", "transit/keys/alga")), "vault.sealed");
  EXPECT_EQ(pauses_, 0) << "waiting milliseconds does not unseal it";
  EXPECT_EQ(caller.probe().error().code, "vault.sealed");
}

TEST_F(Vault, MapsPersistentRateLimitsAndNonsense) {
  VaultClient::Options once = options();
  once.attempts = 1;
  const auto ask = [&](std::uint16_t status, std::string body) {
    vault_.answer_once = domain::HttpResponse{.status = status, .headers = {}, .body = body};
    VaultClient caller(once, std::make_unique<StaticToken>(Secret("root")), vault_, clock_);
    return code(caller.call("GET", "transit/keys/alga"));
  };
  EXPECT_EQ(ask(429, ""), "vault.rate_limited");
  EXPECT_EQ(ask(502, "<html>"), "vault.unavailable");
  EXPECT_EQ(ask(200, "<html>"), "vault.bad_response");
  EXPECT_EQ(ask(200, "[]"), "vault.bad_response");
  EXPECT_EQ(ask(404, ""), "vault.not_found");
  EXPECT_EQ(ask(200, R"({"data":{"latest_version":"x"}})"), "ok");
}

TEST_F(Vault, NeverLeavesItsMounts) {
  VaultClient caller = client(std::make_unique<StaticToken>(Secret("root")));
  VaultTransit transit(caller);
  for (const char* mount : {"../sys", "sys", "auth/token", "identity", "a//b", "", "a/..", "a?b",
                            "a%2fb", ".a", "a/.b"}) {
    EXPECT_EQ(transit.decrypt(mount, "alga", "vault:v1:x", "").error().code, "vault.invalid_name")
        << mount;
  }
  for (const char* key : {"../alga", "a/b", "", "a#b"}) {
    EXPECT_EQ(transit.encrypt("transit", key, as_bytes("x"), "").error().code, "vault.invalid_name")
        << key;
  }
  EXPECT_EQ(vault_.calls, 0);
  EXPECT_TRUE(is_mount("team/transit"));
}

TEST_F(Vault, RefusesSecretPathsThatAreNone) {
  VaultClient caller = client(std::make_unique<StaticToken>(Secret("root")));
  for (const char* path : {"kv/app", "../data/x", "sys/data/x", ""}) {
    EXPECT_EQ(VaultSecrets::make({.app_path = path}, caller, clock_).error().code,
              "vault.invalid_name");
  }
  EXPECT_EQ(VaultSecrets::make({.tenant_path = "kv/data/all"}, caller, clock_).error().code,
            "vault.invalid_name");
}

TEST_F(Vault, KeepsTheOtherWritersSecretWhenBothWriteAtOnce) {
  VaultClient caller = client(std::make_unique<StaticToken>(Secret("root")));
  auto secrets = *VaultSecrets::make({}, caller, clock_);
  int rivals = 2;
  vault_.before_answer = [&](const domain::HttpRequest& request) {
    if (request.method != "POST" || rivals == 0) return;
    // Between our read and our write somebody else writes.
    const std::string name = "rival" + std::to_string(rivals--);
    VaultClient other = client(std::make_unique<StaticToken>(Secret("root")));
    auto theirs = *VaultSecrets::make({}, other, clock_);
    const int left = std::exchange(rivals, 0);
    EXPECT_TRUE(theirs->set_app_secret(name, Secret("theirs")));
    rivals = left;
  };
  ASSERT_TRUE(secrets->set_app_secret("ours", Secret("v")));
  vault_.before_answer = {};
  for (const char* name : {"ours", "rival1", "rival2"}) {
    EXPECT_TRUE(secrets->app_secret(name)->has_value()) << name;
  }
}

TEST_F(Vault, SharesOneReadForASecond) {
  VaultClient caller = client(std::make_unique<StaticToken>(Secret("root")));
  auto secrets = *VaultSecrets::make({}, caller, clock_);
  const int before = vault_.calls;
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(secrets->app_secret("missing")->has_value());
  EXPECT_EQ(vault_.calls, before + 1);
  clock_.advance(std::chrono::seconds(1));
  EXPECT_FALSE(secrets->app_secret("missing")->has_value());
  EXPECT_EQ(vault_.calls, before + 2);
}

TEST_F(Vault, AsksOnceForAllWhoReadAtOnce) {
  VaultClient caller = client(std::make_unique<StaticToken>(Secret("root")));
  auto secrets = *VaultSecrets::make({}, caller, clock_);
  constexpr int readers = 8;
  std::latch all_ask{readers};
  const int before = vault_.calls;
  // Vault answers the first when all have asked.
  vault_.before_answer = [&](const domain::HttpRequest&) { all_ask.wait(); };
  std::atomic<int> answered = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < readers; ++i) {
      threads.emplace_back([&] {
        all_ask.count_down();
        answered += secrets->app_secret("missing").has_value() ? 1 : 0;
      });
    }
  }
  vault_.before_answer = {};
  EXPECT_EQ(answered, readers);
  EXPECT_EQ(vault_.calls, before + 1);
}

TEST_F(Vault, NeverPutsASecretIntoAnError) {
  VaultClient caller = client(std::make_unique<StaticToken>(Secret("canary-token")));
  VaultTransit transit(caller);
  const auto refused = transit.encrypt("transit", "alga", as_bytes("canary-plain"), "c");
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, Not(HasSubstr("canary")));
}

}  // namespace
}  // namespace alga::vault
