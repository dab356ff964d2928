#include "vault/http_broker.h"

#include <gtest/gtest.h>

#include <boost/json/serialize.hpp>
#include <functional>
#include <mutex>

#include "async/task.h"
#include "base/bytes.h"
#include "crypto/sealed_box.h"
#include "egress/curl_loop.h"
#include "httpd/testing_server.h"
#include "json/decode.h"

namespace alga::vault {
namespace {

NoMetrics no_metrics;

/// A control plane that answers each redemption as a test says, and keeps what it was asked.
class HttpBrokerTest : public ::testing::Test {
 protected:
  using Answer = std::function<httpd::Response(const boost::json::object&)>;

  static async::Task<httpd::Response> answer(HttpBrokerTest* test, httpd::Request request) {
    const auto asked = json::parse(request.body);
    const std::scoped_lock lock(test->mutex_);
    test->asked_ = asked && asked->is_object() ? asked->get_object() : boost::json::object{};
    co_return test->answer_(test->asked_);
  }
  httpd::Router routes() {
    httpd::Router router;
    router.add("POST", "/internal/secrets/redeem",
               [this](httpd::Request request) { return answer(this, std::move(request)); });
    return router;
  }
  void answers(std::uint16_t status, std::string body) {
    const std::scoped_lock lock(mutex_);
    answer_ = [status, body = std::move(body)](const boost::json::object&) {
      return httpd::json_response(status, body);
    };
  }
  void seals(std::string_view secrets, std::string_view version) {
    const std::scoped_lock lock(mutex_);
    answer_ = [secrets, version](const boost::json::object& asked) {
      const auto key = crypto::BoxPublicKey::from_base64(asked.at("public_key").as_string());
      const std::string sealed = key->seal(as_bytes(secrets)).value();
      const boost::json::object body{{"sealed_b64", base64_encode(as_bytes(sealed))},
                                     {"version", version}};
      return httpd::json_response(200, boost::json::serialize(body));
    };
  }
  Result<BrokeredSecrets> redeem(const std::string& url) {
    HttpBroker broker({.url = url, .tls = {}}, client_);
    domain::SecretEnvelope envelope;
    envelope.ciphertext_b64 = "the-token";
    envelope.version = "v1";
    return broker.redeem(envelope, {*TenantId::parse("t1"), *InstallId::parse("i1")});
  }
  Result<BrokeredSecrets> redeem() { return redeem(server_.origin() + "/"); }
  std::string refusal() {
    const auto secrets = redeem();
    return secrets ? "redeemed"
                   : std::string(secrets.error().code) + ": " + secrets.error().message;
  }

  std::mutex mutex_;
  Answer answer_;
  boost::json::object asked_;
  httpd::TestingServer server_{routes()};
  egress::HttpClient client_{
      std::make_shared<egress::CurlLoop>(egress::CurlLoopOptions{}, no_metrics)};
};

TEST_F(HttpBrokerTest, OpensWhatIsSealedToTheKeyOfThisRedemption) {
  seals(R"({"k":"v"})", "v2");
  const auto secrets = redeem();
  ASSERT_TRUE(secrets) << secrets.error().message;
  EXPECT_EQ(as_text(secrets->json.reveal()), R"({"k":"v"})");
  EXPECT_EQ(secrets->version, "v2") << "the newest, whatever the token was minted for";
  const std::string first(asked_.at("public_key").as_string());
  EXPECT_EQ(asked_.at("token"), "the-token");
  EXPECT_EQ(asked_.at("tenant"), "t1");
  EXPECT_EQ(asked_.at("install"), "i1");
  EXPECT_EQ(asked_.at("version"), "v1");
  ASSERT_TRUE(redeem());
  EXPECT_NE(std::string(asked_.at("public_key").as_string()), first)
      << "a key is made for one redemption";
}

TEST_F(HttpBrokerTest, TellsATokenThatIsRefusedFromABrokerThatIsAway) {
  const auto error = [](std::string_view code) {
    return R"({"error":{"code":")" + std::string(code) + R"(","message":"m","request_id":"r"}})";
  };
  answers(403, error("broker.token_taken"));
  EXPECT_EQ(refusal(), "secret.token_refused: the broker refuses the token: broker.token_taken");
  answers(410, "no JSON");
  EXPECT_EQ(refusal(), "secret.token_refused: the broker refuses the token: 410");
  for (const std::uint16_t status : {429, 500, 503}) {
    answers(status, error("keys.unavailable"));
    EXPECT_EQ(refusal(), "secret.broker_unavailable: keys.unavailable") << status;
    EXPECT_EQ(redeem().error().retry_after_s, 1U) << status;
  }
  const auto away = redeem("http://127.0.0.1:1");
  ASSERT_FALSE(away);
  EXPECT_EQ(away.error().code, "secret.broker_unavailable");
}

TEST_F(HttpBrokerTest, TakesNothingThatIsNotSealedToIt) {
  const std::string sealed =
      crypto::BoxKeyPair::generate().public_key().seal(as_bytes(R"({"k":"v"})")).value();
  const std::string bodies[] = {
      "",
      "[]",
      "{}",
      R"({"version":"v1"})",
      R"({"sealed_b64":"%","version":"v1"})",
      R"({"sealed_b64":"","version":"v1"})",
      R"({"sealed_b64":"eyJrIjoidiJ9","version":"v1"})",
      R"({"sealed_b64":")" + base64_encode(as_bytes(sealed)) + R"(","version":"v1"})"};
  for (const std::string& body : bodies) {
    answers(200, body);
    EXPECT_EQ(refusal(), "secret.broker_unavailable: the broker's answer has not the right form")
        << body;
  }
}

}  // namespace
}  // namespace alga::vault
