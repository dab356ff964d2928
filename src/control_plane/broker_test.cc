#include "control_plane/broker.h"

#include <gmock/gmock.h>

#include "base/bytes.h"
#include "control_plane/testing.h"
#include "crypto/sealed_box.h"
#include "domain/grant.h"
#include "domain/install_config_codec.h"

namespace alga::control_plane {
namespace {

using boost::json::object;
using testing::HeaderMap;
using testing::Platform;
using testing::Reply;

class BrokerTest : public testing::OnPlatform {
 protected:
  void SetUp() override {
    OnEveryDatabase::SetUp();
    if (!database_) return;
    platform_ = std::make_unique<Platform>(std::move(database_), [this](Options& options) {
      options.broker = {.enabled = true, .token_life = std::chrono::seconds{30}, .runners = pool_};
    });
    publish_hello();
    admin_ = p().admin_of("t1");
    install_ = install_hello(admin_, {{"capabilities", {"cap:secrets.get"}}});
    set("first");
  }
  Reply set(const std::string& value, const std::string& name = "api_key") {
    return p().call("PUT", "/api/v1/installs/" + install_ + "/secrets/" + name, admin_,
                    object{{"value", value}});
  }
  domain::InstallConfig config() {
    const Reply reply = p().call("POST", "/internal/runner/install-config", "",
                                 object{{"tenantId", "t1"}, {"extensionId", install_}},
                                 {{"x-runner-auth", "token-of-config"}});
    auto config = domain::install_config_from_json(reply.body);
    if (!config) ADD_FAILURE() << reply.text;
    return *config;
  }
  httpd::Peer runner(const std::string& fingerprint) {
    return {.address = "10.0.0.7",
            .tls = true,
            .certificate_names = {"runner-" + fingerprint},
            .certificate_sha256 = fingerprint};
  }
  /// The answer of the route to this peer.
  Reply post(const httpd::Peer& peer, object body) {
    return p().send_as(peer, "POST", "/internal/secrets/redeem", boost::json::serialize(body));
  }
  object body_for(const domain::InstallConfig& config) {
    return {{"token", config.envelope->ciphertext_b64},
            {"tenant", config.tenant.str()},
            {"install", config.install.str()},
            {"version", config.secrets_version},
            {"public_key", key_.public_key().base64()}};
  }
  /// The secret `api_key`, or the code of the refusal.
  std::string redeem(const httpd::Peer& peer, const object& body) {
    const Reply reply = post(peer, body);
    if (reply.status != 200) return reply.string("/error/code");
    const auto sealed = base64_decode(reply.string("/sealed_b64"));
    EXPECT_FALSE(reply.text.contains("first"));
    auto json = key_.open(as_bytes(*sealed));
    if (!json) return "does not open";
    auto map = domain::SecretMap::from_json(*json);
    return std::string(map->reveal("api_key").value_or("none"));
  }
  /// Actions of the tenant's audit trail, newest first, as far as they are the broker's.
  std::vector<std::string> trail() {
    const Reply reply = p().call("GET", "/api/v1/audit?limit=200", admin_);
    std::vector<std::string> actions;
    for (const auto& event : reply.at("/events").as_array()) {
      std::string action(event.at("action").as_string());
      if (action.starts_with("secrets.rede")) actions.push_back(std::move(action));
    }
    return actions;
  }

  std::vector<std::string> pool_;
  crypto::BoxKeyPair key_ = crypto::BoxKeyPair::generate();
  std::string admin_, install_;
};

TEST_P(BrokerTest, ARunnerRedeemsTheTokenOfItsRequestAndEveryRedemptionIsAudited) {
  const auto config = this->config();
  EXPECT_EQ(config.envelope->algorithm, "broker-token:v1");
  EXPECT_EQ(redeem(runner("aa"), body_for(config)), "first");
  EXPECT_EQ(redeem(runner("aa"), body_for(config)), "first") << "it may repeat";
  EXPECT_EQ(trail(), (std::vector<std::string>{"secrets.redeemed", "secrets.redeemed"}));
}

TEST_P(BrokerTest, TheFirstCertificateToRedeemATokenOwnsIt) {
  const auto config = this->config();
  EXPECT_EQ(redeem(runner("aa"), body_for(config)), "first");
  EXPECT_EQ(redeem(runner("bb"), body_for(config)), "broker.token_taken");
  EXPECT_EQ(redeem(runner("aa"), body_for(config)), "first");
  EXPECT_THAT(trail(), ::testing::Contains("secrets.redemption_refused"));
}

TEST_P(BrokerTest, NobodyWithoutAClientCertificateIsGivenASecret) {
  const auto config = this->config();
  httpd::Peer plain{.address = "127.0.0.1"};
  EXPECT_EQ(redeem(plain, body_for(config)), "broker.certificate_required");
  plain.tls = true;
  EXPECT_EQ(redeem(plain, body_for(config)), "broker.certificate_required");
  const httpd::Peer forged{.tls = false, .certificate_sha256 = "aa"};
  EXPECT_EQ(redeem(forged, body_for(config)), "broker.certificate_required");
}

TEST_P(BrokerTest, ATokenIsMintedForEachRequestAndTheGrantGoesWithAll) {
  const auto first = config();
  const auto second = config();
  EXPECT_EQ(first.grant, second.grant) << "one grant serves many requests";
  EXPECT_NE(first.envelope->ciphertext_b64, second.envelope->ciphertext_b64);
  EXPECT_EQ(redeem(runner("aa"), body_for(first)), "first");
  EXPECT_EQ(redeem(runner("bb"), body_for(second)), "first") << "another token, another owner";
  domain::GrantVerifier verifier(p().clock());
  std::vector<crypto::PublicKey> keys;
  for (const GrantKey& key : p().plane().grant_keys()) keys.push_back(key.key);
  verifier.set_keys(keys);
  const auto verified = verifier.verify(second.grant);
  ASSERT_TRUE(verified);
  domain::ExecuteRequest request{.tenant = second.tenant,
                                 .extension = second.registry,
                                 .content_hash = second.content_hash,
                                 .config = second.config,
                                 .envelope = second.envelope};
  EXPECT_TRUE(domain::check_request((*verified)->grant, request));
  request.envelope->version = "another";
  EXPECT_EQ(domain::check_request((*verified)->grant, request).error().code,
            "grant.envelope_mismatch");
  request.envelope.reset();
  EXPECT_EQ(domain::check_request((*verified)->grant, request).error().code,
            "grant.envelope_mismatch");
}

TEST_P(BrokerTest, RefusesTokensThatAreOldAlteredOrForSomebodyElse) {
  const auto config = this->config();
  object body = body_for(config);
  body["install"] = "another";
  EXPECT_EQ(redeem(runner("aa"), body), "broker.token_mismatch");
  body = body_for(config);
  body["tenant"] = "t2";
  EXPECT_EQ(redeem(runner("aa"), body), "broker.token_mismatch");
  body = body_for(config);
  body["version"] = "v0";
  EXPECT_EQ(redeem(runner("aa"), body), "broker.token_mismatch");
  const std::string token = config.envelope->ciphertext_b64;
  for (std::size_t i = 0; i < token.size(); i += 7) {
    std::string altered = token;
    altered[i] = altered[i] == 'A' ? 'B' : 'A';
    body = body_for(config);
    body["token"] = altered;
    EXPECT_EQ(redeem(runner("aa"), body), "broker.token_invalid") << i;
  }
  body["token"] = config.grant;
  EXPECT_EQ(redeem(runner("aa"), body), "broker.token_invalid") << "a grant is no token";
  p().clock().advance(std::chrono::seconds(30));
  EXPECT_EQ(redeem(runner("aa"), body_for(config)), "broker.token_expired");
}

TEST_P(BrokerTest, ARequestOnItsWayGetsTheNewSecretsAfterARotation) {
  const auto config = this->config();
  ASSERT_EQ(set("second").status, 200);
  const Reply reply = post(runner("aa"), body_for(config));
  EXPECT_EQ(reply.status, 200);
  EXPECT_NE(reply.string("/version"), config.secrets_version);
  EXPECT_EQ(redeem(runner("aa"), body_for(config)), "second");
}

TEST_P(BrokerTest, ADisabledInstallHasNothingToRedeem) {
  const auto config = this->config();
  ASSERT_EQ(p().call("POST", "/api/v1/installs/" + install_ + "/disable", admin_).status, 200);
  EXPECT_EQ(redeem(runner("aa"), body_for(config)), "broker.install_gone");
}

TEST_P(BrokerTest, TheOwnersOfTokensThatHaveExpiredAreForgotten) {
  ASSERT_EQ(redeem(runner("aa"), body_for(config())), "first");
  const auto owners = [this] {
    auto found = p().database().read(
        [](sql::Executor& sql) { return sql.query("SELECT runner FROM secret_redemptions"); });
    std::vector<std::string> runners;
    for (const sql::Row& row : *found) runners.push_back(row.at<std::string>(0));
    return runners;
  };
  p().clock().advance(std::chrono::seconds(31));
  ASSERT_EQ(redeem(runner("bb"), body_for(config())), "first");
  SystemRandom random;
  NoMetrics metrics;
  Dependencies deps;
  deps.database = &p().database();
  deps.clock = &p().clock();
  deps.random = &random;
  deps.metrics = &metrics;
  const Core core(std::move(deps));
  DataKeys data_keys(core);
  Changes changes;
  Settings settings(core, data_keys, changes);
  const SigningKeys signing(core);
  Broker broker(core, settings, signing);
  EXPECT_EQ(broker.sweep(), 1U);
  EXPECT_EQ(owners(), std::vector<std::string>{"bb"});
}

TEST_P(BrokerTest, WhenTheKeyProviderIsAwayTheRefusalSaysToWait) {
  const auto config = this->config();
  // A platform that has not unwrapped the tenant's key yet.
  auto second = std::make_unique<Platform>(
      open(), [](Options& options) { options.broker.enabled = true; }, p().secrets());
  second->keys().broken = true;
  const Reply reply = second->send_as(runner("aa"), "POST", "/internal/secrets/redeem",
                                      boost::json::serialize(body_for(config)));
  EXPECT_EQ(reply.status, 503);
  EXPECT_EQ(reply.string("/error/code"), "keys.unavailable");
}

class PoolTest : public BrokerTest {
 protected:
  PoolTest() { pool_ = {"runner-aa", "spiffe://alga/runner"}; }
};

TEST_P(PoolTest, OnlyCertificatesOfThePoolMayRedeem) {
  EXPECT_EQ(redeem(runner("aa"), body_for(config())), "first");
  EXPECT_EQ(redeem(runner("gateway"), body_for(config())), "broker.runner_not_allowed");
  httpd::Peer spiffe = runner("cc");
  spiffe.certificate_names = {"pod.local", "spiffe://alga/runner"};
  EXPECT_EQ(redeem(spiffe, body_for(config())), "first");
}

TEST(BrokerSwitchedOff, HasNothingToRedeem) {
  sql::testing::TemporaryFolder folder;
  Platform platform(*sql::open_database("sqlite:" + folder.path() + "/test.db"));
  const httpd::Peer peer{.tls = true, .certificate_sha256 = "aa"};
  const crypto::BoxKeyPair key = crypto::BoxKeyPair::generate();
  const Reply reply =
      platform.send_as(peer, "POST", "/internal/secrets/redeem",
                       boost::json::serialize(object{{"token", "x"},
                                                     {"tenant", "t1"},
                                                     {"install", "i1"},
                                                     {"version", "v1"},
                                                     {"public_key", key.public_key().base64()}}));
  EXPECT_EQ(reply.string("/error/code"), "broker.disabled");
}

ALGA_ON_EVERY_DATABASE(BrokerTest);
ALGA_ON_EVERY_DATABASE(PoolTest);

}  // namespace
}  // namespace alga::control_plane
