#include <thread>

#include "base/bytes.h"
#include "control_plane/testing.h"
#include "domain/envelope.h"
#include "domain/grant.h"

namespace alga::control_plane {
namespace {

using testing::OnPlatform;
using testing::Platform;
using testing::Reply;

class MainPath : public OnPlatform {
 protected:
  Reply install_config(const std::string& tenant, const std::string& extension,
                       const std::string& path = "/internal/runner/install-config") {
    return p().call("POST", path, "",
                    boost::json::object{{"tenantId", tenant}, {"extensionId", extension}},
                    {{"x-runner-auth", "token-of-config"}});
  }
};

TEST_P(MainPath, LeadsFromPublishingToAnInstallConfigThatARunnerBelieves) {
  Reply published = publish_hello();
  ASSERT_EQ(published.status, 200) << published.text;
  EXPECT_EQ(published.string("/version/version"), "1.0.0");
  EXPECT_TRUE(published.string("/contentHash").starts_with("sha256:"));

  std::string admin = p().admin_of("t1");
  std::string id = install_hello(admin, {{"capabilities", {"cap:secrets.get"}},
                                         {"egress", {"https://api.example.com"}},
                                         {"config", {{"region", "eu"}}}});
  Reply secret = p().call("PUT", "/api/v1/installs/" + id + "/secrets/api_key", admin,
                          boost::json::object{{"value", "s3cr3t"}});
  ASSERT_EQ(secret.status, 200) << secret.text;

  Reply config = install_config("t1", "acme.hello");
  ASSERT_EQ(config.status, 200) << config.text;
  EXPECT_EQ(config.string("/installId"), id);
  EXPECT_EQ(config.string("/config/region"), "eu");
  EXPECT_EQ(config.string("/contentHash"), published.string("/contentHash"));
  EXPECT_EQ(config.at("/providers"), (boost::json::array{"cap:context.read", "cap:log.emit",
                                                         "cap:secrets.get", "cap:user.read"}));

  domain::GrantVerifier verifier(p().clock());
  std::vector<crypto::PublicKey> keys;
  for (const auto& key : p().plane().grant_keys()) keys.push_back(key.key);
  verifier.set_keys(keys);
  auto grant = verifier.verify(config.string("/grant"));
  ASSERT_TRUE(grant) << grant.error().message;
  EXPECT_EQ((*grant)->grant.tenant.str(), "t1");
  EXPECT_TRUE((*grant)->grant.capabilities.contains(domain::Capability::secrets_get));
  EXPECT_FALSE((*grant)->grant.capabilities.contains(domain::Capability::storage_kv));

  auto envelope = domain::envelope_from_json(config.at("/secretEnvelope"));
  ASSERT_TRUE(envelope) << envelope.error().message;
  EXPECT_EQ((*grant)->grant.envelope_sha256, domain::envelope_digest(*envelope));
  domain::SealingKeys sealing;
  sealing.add("k1", crypto::AeadKey::from_bytes(p().envelope_key().reveal()).value());
  auto opened =
      domain::open_sealed(*envelope, {TenantId::parse("t1").value(), InstallId::parse(id).value()},
                          sealing, p().clock().wall());
  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_EQ(opened->reveal("api_key"), "s3cr3t");
}

TEST_P(MainPath, ResolvesByInstallIdRegistryIdAndSlugOnBothPaths) {
  Reply published = publish_hello();
  std::string id = install_hello(p().admin_of("t1"));
  for (const std::string& ref : {id, published.string("/extension/id"), std::string("acme.hello"),
                                 std::string("ACME.Hello")}) {
    for (const char* path :
         {"/internal/runner/install-config", "/api/internal/ext-runner/install-config"}) {
      EXPECT_EQ(install_config("t1", ref, path).string("/installId"), id) << ref << path;
    }
  }
}

TEST_P(MainPath, RefusesInstallConfigWithoutItsToken) {
  boost::json::object body{{"tenantId", "t1"}, {"extensionId", "x"}};
  const std::string path = "/internal/runner/install-config";
  EXPECT_EQ(p().call("POST", path, "", body).status, 401);
  EXPECT_EQ(p().call("POST", path, p().operator_token(), body).status, 401);
  EXPECT_EQ(p().call("POST", path, "", body, {{"x-runner-auth", "token-of-confix"}}).status, 401);
  Reply none = install_config("t1", "nothing");
  EXPECT_EQ(none.status, 404);
  EXPECT_EQ(none.string("/error"), "install_not_found");
  Reply bad = p().call_malformed("POST", path, "", boost::json::object{{"tenantId", "t1"}},
                                 {{"x-runner-auth", "token-of-config"}});
  EXPECT_EQ(bad.status, 400);
  EXPECT_EQ(bad.string("/error"), "invalid_request");
}

TEST_P(MainPath, ShowsEveryChangeToTheNextResolution) {
  publish_hello();
  std::string admin = p().admin_of("t1");
  std::string id = install_hello(admin, {{"capabilities", {"cap:storage.kv"}}});
  std::string base = "/api/v1/installs/" + id;
  auto has = [&](const char* name) {
    auto providers = install_config("t1", id).at("/providers");
    return std::ranges::find(providers.as_array(), boost::json::value(name)) !=
           providers.as_array().end();
  };
  EXPECT_TRUE(has("cap:storage.kv"));
  p().call("PUT", base + "/grants", admin,
           boost::json::object{{"capabilities", boost::json::array{}}});
  EXPECT_FALSE(has("cap:storage.kv"));
  p().call("PUT", base + "/grants", admin, boost::json::object{{"withhold", {"cap:log.emit"}}});
  EXPECT_FALSE(has("cap:log.emit"));

  std::string before = install_config("t1", id).string("/configVersion");
  p().call("PATCH", base + "/config", admin, boost::json::object{{"set", {{"a", "1"}}}});
  EXPECT_NE(install_config("t1", id).string("/configVersion"), before);
  EXPECT_EQ(install_config("t1", id).string("/config/a"), "1");

  EXPECT_EQ(p().call("POST", base + "/disable", admin).status, 200);
  EXPECT_EQ(install_config("t1", id).status, 404);
  EXPECT_EQ(p().call("POST", base + "/enable", admin).status, 200);
  EXPECT_EQ(install_config("t1", id).status, 200);
  EXPECT_EQ(p().call("DELETE", base, admin).status, 204);
  EXPECT_EQ(install_config("t1", id).status, 404);
}

TEST_P(MainPath, RenewsGrantsBeforeTheyExpire) {
  publish_hello();
  std::string id = install_hello(p().admin_of("t1"));
  std::string first = install_config("t1", id).string("/grant");
  p().clock().advance(std::chrono::seconds{10});
  EXPECT_EQ(install_config("t1", id).string("/grant"), first);
  p().clock().advance(std::chrono::seconds{25});
  EXPECT_NE(install_config("t1", id).string("/grant"), first);
}

TEST_P(MainPath, RotatesTheKeyThatSignsGrantsWithOverlap) {
  publish_hello();
  std::string id = install_hello(p().admin_of("t1"));
  domain::GrantVerifier verifier(p().clock());
  auto trust = [&] {
    std::vector<crypto::PublicKey> keys;
    for (const auto& key : p().plane().grant_keys()) keys.push_back(key.key);
    verifier.set_keys(keys);
    return keys.size();
  };
  auto signer = [&]() -> std::string {
    auto grant = verifier.verify(install_config("t1", id).string("/grant"));
    return grant ? (*grant)->key_id : std::string(grant.error().code);
  };
  EXPECT_EQ(trust(), 1U);
  std::string first = signer();
  Reply rotated = p().call("POST", "/api/v1/grant-keys/rotate", p().operator_token());
  ASSERT_EQ(rotated.status, 201) << rotated.text;
  EXPECT_EQ(p().grant_key_changes, 1);
  // A runner that has not asked for the keys yet sees nothing of it.
  EXPECT_EQ(signer(), first);
  EXPECT_EQ(trust(), 2U);
  p().clock().advance(std::chrono::minutes{4});
  EXPECT_EQ(signer(), first);
  p().clock().advance(std::chrono::minutes{2});
  EXPECT_EQ(signer(), rotated.string("/kid"));
  EXPECT_EQ(trust(), 2U);
  p().clock().advance(std::chrono::minutes{5});
  EXPECT_EQ(trust(), 1U);
  EXPECT_EQ(signer(), rotated.string("/kid"));
}

ALGA_ON_EVERY_DATABASE(MainPath);

/// Two processes on one database: an administrator at one, a gateway at the other.
class TwoHosts : public sql::testing::OnEveryDatabase {
 protected:
  void SetUp() override {
    OnEveryDatabase::SetUp();
    if (!database_) return;
    auto remote = [](Options& options) { options.remote_gateways = true; };
    near_ = std::make_unique<Platform>(open(), remote);
    far_ = std::make_unique<Platform>(open(), remote, near_->secrets());
  }
  /// The status of install-config at the far host.
  /// What a gateway in the far process is told; the internal route confirms each answer.
  int far_status() {
    auto known = async::block_on(
        far_->plane().install_configs().resolve(TenantId::parse("t1").value(), "acme.hello"));
    return known ? 200 : http_status(known.error().kind);
  }
  bool disabled() {
    auto row = database_->read([](sql::Executor& sql) {
      return sql.find("SELECT 1 FROM tenant_extension_install WHERE is_enabled = 0");
    });
    return row.value().has_value();
  }
  /// Calls the near host while its clock runs.
  Reply near(std::string method, std::string path, std::string token, boost::json::object body) {
    std::atomic<bool> answered = false;
    std::jthread clock([&] {
      while (!answered) near_->clock().advance(std::chrono::milliseconds{1});
    });
    Reply reply = near_->call(method, path, token, body);
    answered = true;
    return reply;
  }
  std::unique_ptr<Platform> near_, far_;
};

TEST_P(TwoHosts, GiveTheSameKeyForTheAnswersOfAnInstallAndAnotherForEachInstall) {
  near_->publish(near_->publisher("acme"), Platform::bundle(Platform::manifest("hello", "1.0.0")));
  for (const char* tenant : {"t1", "t2"}) {
    const Reply made =
        near("POST", "/api/v1/installs", near_->admin_of(tenant), {{"extension", "acme.hello"}});
    ASSERT_EQ(made.status, 201) << made.text;
  }
  const auto key = [](Platform& host, const char* tenant) {
    return host
        .call("POST", "/internal/runner/install-config", "",
              boost::json::object{{"tenantId", tenant}, {"extensionId", "acme.hello"}},
              {{"x-runner-auth", "token-of-config"}})
        .at("/answerKey");
  };
  const boost::json::value first = key(*near_, "t1");
  ASSERT_TRUE(first.is_object());
  EXPECT_EQ(base64_decode(first.at("key").as_string()).value().size(), 32U);
  EXPECT_EQ(key(*far_, "t1"), first);
  EXPECT_NE(key(*far_, "t2"), first);
  EXPECT_EQ(key(*far_, "t2").at("id"), first.at("id"));
}

TEST_P(TwoHosts, AcknowledgeAChangeWhenNoLeaseFromBeforeIsLeft) {
  near_->publish(near_->publisher("acme"), Platform::bundle(Platform::manifest("hello", "1.0.0")));
  std::string admin = near_->admin_of("t1");
  Reply made = near("POST", "/api/v1/installs", admin, {{"extension", "acme.hello"}});
  ASSERT_EQ(made.status, 201) << made.text;
  EXPECT_EQ(far_status(), 200);  // holds a lease from now on

  std::atomic<bool> acknowledged = false;
  std::jthread administrator([&] {
    Reply reply =
        near_->call("POST", "/api/v1/installs/" + made.string("/install/id") + "/disable", admin);
    EXPECT_EQ(reply.status, 200);
    acknowledged = true;
  });
  while (!disabled()) std::this_thread::sleep_for(std::chrono::milliseconds{1});
  EXPECT_EQ(far_status(), 200);  // from before the change, and allowed: nobody was told yet
  EXPECT_FALSE(acknowledged);
  // A lease later, at both. Nobody knows when the near host began to wait.
  far_->clock().advance(std::chrono::seconds{1});
  while (!acknowledged) {
    near_->clock().advance(std::chrono::milliseconds{1});
    std::this_thread::sleep_for(std::chrono::microseconds{100});
  }
  administrator.join();
  EXPECT_EQ(far_status(), 404);
}

TEST_P(TwoHosts, NeverServeAnOldSecretAfterTheRotationWasAcknowledged) {
  near_->publish(near_->publisher("acme"), Platform::bundle(Platform::manifest("hello", "1.0.0")));
  std::string admin = near_->admin_of("t1");
  Reply made = near("POST", "/api/v1/installs", admin, {{"extension", "acme.hello"}});
  std::string secret = "/api/v1/installs/" + made.string("/install/id") + "/secrets/key";

  std::mutex mutex;
  std::vector<std::string> acknowledged;
  std::atomic<bool> over = false;
  std::atomic<int> stale = 0;
  std::atomic<int> served = 0;
  std::jthread time([&] {
    while (!over) {
      far_->clock().advance(std::chrono::milliseconds{1});
      near_->clock().advance(std::chrono::milliseconds{1});
      // Faster than the day, but not so that leases end before anybody could use them.
      std::this_thread::sleep_for(std::chrono::microseconds{200});
    }
  });
  auto request = [&](Platform& host) {
    std::size_t known = 0;
    {
      std::lock_guard lock(mutex);
      known = acknowledged.size();
    }
    Reply config = host.call("POST", "/internal/runner/install-config", "",
                             boost::json::object{{"tenantId", "t1"}, {"extensionId", "acme.hello"}},
                             {{"x-runner-auth", "token-of-config"}});
    std::string version = config.string("/secretEnvelope/version");
    std::lock_guard lock(mutex);
    auto found = std::ranges::find(acknowledged, version);
    // A version that is not acknowledged yet is a newer one.
    auto place = static_cast<std::size_t>(found - acknowledged.begin()) + 1;
    if (found != acknowledged.end() && place < known) ++stale;
    ++served;
  };
  std::vector<std::jthread> gateways;
  for (int i = 0; i < 3; ++i) {
    gateways.emplace_back([&, i] {
      while (!over) request(i == 0 ? *near_ : *far_);
    });
  }
  for (int rotation = 0; rotation < 8; ++rotation) {
    request(*far_);  // so that it holds a lease on what is about to change
    Reply set = near_->call("PUT", secret, admin,
                            boost::json::object{{"value", "v" + std::to_string(rotation)}});
    ASSERT_EQ(set.status, 200) << set.text;
    {
      std::lock_guard lock(mutex);
      acknowledged.push_back(set.string("/version"));
    }
    request(*far_);
  }
  over = true;
  gateways.clear();
  EXPECT_EQ(stale, 0);
  EXPECT_GE(served, 8);
}

ALGA_ON_EVERY_DATABASE(TwoHosts);

}  // namespace
}  // namespace alga::control_plane
