#include <gmock/gmock.h>

#include "control_plane/testing.h"

namespace alga::control_plane {
namespace {

/// Install-config as a gateway asks for it.
class EnvelopeTest : public testing::OnPlatform {
 protected:
  void SetUp() override {
    OnPlatform::SetUp();
    if (!platform_) return;
    admin_ = p().admin_of("acme");
    ASSERT_EQ(publish_hello().status / 100, 2);
    install_ = install_hello(admin_);
    set("first");
  }
  testing::Reply set(const std::string& value) {
    return p().call("PUT", "/api/v1/installs/" + install_ + "/secrets/api_key", admin_,
                    boost::json::object{{"value", value}});
  }
  testing::Reply config() {
    return p().call("POST", "/internal/runner/install-config", "",
                    boost::json::object{{"tenantId", "acme"}, {"extensionId", install_}},
                    {{"x-runner-auth", "token-of-config"}});
  }
  std::string admin_, install_;
};

TEST_P(EnvelopeTest, OneEnvelopeServesUntilHalfOfItsLifeIsOver) {
  const std::string first = config().string("/secretEnvelope/ciphertext_b64");
  for (int i = 0; i < 4; ++i) {
    p().clock().advance(std::chrono::seconds(31));  // past half the life of the grant
    EXPECT_EQ(config().string("/secretEnvelope/ciphertext_b64"), first) << i;
  }
  EXPECT_EQ(p().sealer().calls, 1);
  p().clock().advance(std::chrono::seconds(31));
  EXPECT_NE(config().string("/secretEnvelope/ciphertext_b64"), first);
  EXPECT_EQ(p().sealer().calls, 2);
}

TEST_P(EnvelopeTest, ARotatedSecretIsNeverServedFromAnEarlierEnvelope) {
  const testing::Reply before = config();
  ASSERT_EQ(set("second").status, 200);
  const testing::Reply after = config();
  EXPECT_NE(after.string("/secretsVersion"), before.string("/secretsVersion"));
  EXPECT_EQ(after.string("/secretEnvelope/version"), after.string("/secretsVersion"));
  p().sealer().broken = true;
  ASSERT_EQ(set("third").status, 200);
  const testing::Reply refused = config();
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.string("/code"), "vault.unavailable");
}

TEST_P(EnvelopeTest, WhileNoNewOneCanBeMadeTheOlderServesUntilShortlyBeforeItsEnd) {
  ASSERT_EQ(config().status, 200);
  p().sealer().broken = true;
  p().clock().advance(std::chrono::seconds(280));
  EXPECT_EQ(config().status, 200);
  p().clock().advance(std::chrono::seconds(11));
  EXPECT_EQ(config().status, 503) << "less than ten seconds are left";
  p().sealer().broken = false;
  EXPECT_EQ(config().status, 200) << "without anybody's hands";
}

TEST_P(EnvelopeTest, AnAnswerIsNotKeptLongerThanItsEnvelopeLives) {
  const std::string first = config().string("/secretEnvelope/ciphertext_b64");
  p().clock().advance(std::chrono::seconds(149));
  const testing::Reply second = config();
  EXPECT_EQ(second.string("/secretEnvelope/ciphertext_b64"), first);
  p().clock().advance(std::chrono::seconds(142));
  EXPECT_NE(config().string("/secretEnvelope/ciphertext_b64"), first);
}

TEST_P(EnvelopeTest, WhenEncryptionFailsTheSaveFailsAndNothingChanges) {
  const testing::Reply before = config();
  const testing::Reply names = p().call("GET", "/api/v1/installs/" + install_ + "/secrets", admin_);
  const std::string other = p().admin_of("globex");
  const std::string theirs = install_hello(other);
  p().keys().broken = true;
  // The first secret of a tenant needs a data key, and there is nobody who wraps it.
  const testing::Reply refused = p().call("PUT", "/api/v1/installs/" + theirs + "/secrets/api_key",
                                          other, boost::json::object{{"value", "lost?"}});
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.string("/error/code"), "keys.unavailable");
  const testing::Reply none = p().call("GET", "/api/v1/installs/" + theirs + "/secrets", other);
  EXPECT_TRUE(none.at("/names").is_array() && none.at("/names").as_array().empty()) << none.text;
  EXPECT_EQ(config().string("/secretsVersion"), before.string("/secretsVersion"));
  EXPECT_EQ(p().call("GET", "/api/v1/installs/" + install_ + "/secrets", admin_).text, names.text);
  const auto keys = p().database().read([](sql::Executor& sql) {
    return sql.query("SELECT tenant FROM tenant_data_keys WHERE tenant = 'globex'");
  });
  ASSERT_TRUE(keys);
  EXPECT_TRUE(keys->empty());
  p().keys().broken = false;
  EXPECT_EQ(p().call("PUT", "/api/v1/installs/" + theirs + "/secrets/api_key", other,
                     boost::json::object{{"value", "saved"}})
                .status,
            200);
}

ALGA_ON_EVERY_DATABASE(EnvelopeTest);

}  // namespace
}  // namespace alga::control_plane
