#include "domain/grant.h"

#include <gtest/gtest.h>

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <string>

#include "domain/envelope.h"

namespace alga::domain {
namespace {

using namespace std::chrono_literals;

const std::string hash_text(64, 'a');

class GrantTest : public ::testing::Test {
 protected:
  GrantTest() { verifier_.set_keys({key_.public_key()}); }

  Grant grant() const {
    return Grant{.issued = clock_.wall(),
                 .expires = clock_.wall() + 60s,
                 .tenant = *TenantId::parse("t1"),
                 .install = *InstallId::parse("i1"),
                 .extension = *ExtensionId::parse("e1"),
                 .version = *VersionId::parse("v1"),
                 .content_hash = *ContentHash::parse(hash_text),
                 .capabilities = {Capability::http_fetch, Capability::log_emit},
                 .egress = {"https://example.com"},
                 .limits = {.timeout_ms = 1000},
                 .config_version = "c1",
                 .secrets_version = "s1"};
  }
  ExecuteRequest request() const {
    return ExecuteRequest{.tenant = *TenantId::parse("t1"),
                          .extension = *ExtensionId::parse("e1"),
                          .content_hash = *ContentHash::parse(hash_text)};
  }
  std::string verify_code(std::string_view token) {
    auto verified = verifier_.verify(token);
    return verified ? "" : std::string(verified.error().code);
  }
  /// Signs any payload with the trusted key, for what sign_grant() would never sign.
  std::string token_for(std::string payload) {
    std::string first = base64url_encode(as_bytes(payload));
    return first + "." + base64url_encode(key_.sign(as_bytes("alga-grant:v1." + first)));
  }
  boost::json::object payload_of(const std::string& token) {
    return json::parse(*base64url_decode(token.substr(0, token.find('.')))).value().as_object();
  }
  std::string code_with(std::string_view member, boost::json::value value) {
    boost::json::object payload = payload_of(*sign_grant(grant(), key_));
    payload[member] = std::move(value);
    return verify_code(token_for(boost::json::serialize(payload)));
  }

  ManualClock clock_;
  crypto::SigningKey key_ = crypto::SigningKey::generate();
  GrantVerifier verifier_{clock_, 4};
};

TEST_F(GrantTest, CarriesEverythingAcross) {
  Grant given = grant();
  given.envelope_sha256 = std::string(64, 'e');
  given.envelope_expires = "2027-01-15T08:00:00Z";
  given.config_sha256 = config_digest({{"a", "b"}});
  auto verified = verifier_.verify(*sign_grant(given, key_));
  ASSERT_TRUE(verified) << verified.error().message;
  const Grant& got = (*verified)->grant;
  EXPECT_EQ(got.issued, given.issued);
  EXPECT_EQ(got.expires, given.expires);
  EXPECT_EQ(got.tenant, given.tenant);
  EXPECT_EQ(got.install, given.install);
  EXPECT_EQ(got.extension, given.extension);
  EXPECT_EQ(got.version, given.version);
  EXPECT_EQ(got.content_hash, given.content_hash);
  EXPECT_EQ(got.capabilities, given.capabilities);
  EXPECT_EQ(got.limits.timeout_ms, 1000U);
  EXPECT_FALSE(got.limits.memory_mb);
  EXPECT_EQ(got.config_version, "c1");
  EXPECT_EQ(got.secrets_version, "s1");
  EXPECT_EQ(got.envelope_sha256, given.envelope_sha256);
  EXPECT_EQ(got.envelope_expires, given.envelope_expires);
  EXPECT_EQ(got.config_sha256, given.config_sha256);
  EXPECT_TRUE((*verified)->egress->judge("GET", "https://example.com/"));
  EXPECT_FALSE((*verified)->egress->judge("GET", "https://example.org/"));
}

TEST_F(GrantTest, RefusesEveryAlteredCharacter) {
  std::string token = *sign_grant(grant(), key_);
  for (std::size_t i = 0; i < token.size(); ++i) {
    std::string altered = token;
    altered[i] = altered[i] == 'A' ? 'B' : 'A';
    EXPECT_NE(verify_code(altered), "") << "character " << i;
  }
  EXPECT_EQ(verify_code(token), "");
}

TEST_F(GrantTest, RefusesAnotherPayloadUnderAnOldSignature) {
  std::string token = *sign_grant(grant(), key_);
  boost::json::object payload = payload_of(token);
  payload["tenant"] = "t2";
  std::string forged =
      base64url_encode(as_bytes(boost::json::serialize(payload))) + token.substr(token.find('.'));
  EXPECT_EQ(verify_code(forged), "grant.bad_signature");
  EXPECT_EQ(verify_code(token.substr(0, token.find('.') + 1)), "grant.bad_signature");
}

TEST_F(GrantTest, RefusesASignatureMadeForAnotherPurpose) {
  std::string first =
      base64url_encode(as_bytes(boost::json::serialize(payload_of(*sign_grant(grant(), key_)))));
  EXPECT_EQ(verify_code(first + "." + base64url_encode(key_.sign(as_bytes(first)))),
            "grant.bad_signature");
}

TEST_F(GrantTest, RefusesUnknownKeysAndForgetsRevokedOnes) {
  crypto::SigningKey stranger = crypto::SigningKey::generate();
  EXPECT_EQ(verify_code(*sign_grant(grant(), stranger)), "grant.unknown_key");
  std::string token = *sign_grant(grant(), key_);
  EXPECT_EQ(verify_code(token), "");
  verifier_.set_keys({stranger.public_key()});
  EXPECT_EQ(verify_code(token), "grant.unknown_key");
  verifier_.set_keys({stranger.public_key(), key_.public_key()});
  EXPECT_EQ(verify_code(token), "");
}

TEST_F(GrantTest, ForgivesFiveSecondsOfSkewAndNoMore) {
  std::string token = *sign_grant(grant(), key_);
  clock_.advance(65s - 1ms);
  EXPECT_EQ(verify_code(token), "");
  clock_.advance(1ms);
  EXPECT_EQ(verify_code(token), "grant.expired");  // also when it was remembered
  Grant early = grant();
  early.issued += 5s;
  early.expires = early.issued + 60s;
  EXPECT_EQ(verify_code(*sign_grant(early, key_)), "");
  early.issued += 1s;
  early.expires += 1s;
  EXPECT_EQ(verify_code(*sign_grant(early, key_)), "grant.not_yet_valid");
}

TEST_F(GrantTest, RefusesALifeOfMoreThanAMinute) {
  Grant lasting = grant();
  lasting.expires += 1s;
  EXPECT_EQ(sign_grant(lasting, key_).error().code, "grant.bad_life");
  lasting.expires = lasting.issued;
  EXPECT_EQ(sign_grant(lasting, key_).error().code, "grant.bad_life");
  auto now = std::chrono::floor<std::chrono::seconds>(clock_.wall()).time_since_epoch().count();
  EXPECT_EQ(code_with("exp", now + 61), "grant.bad_life");
  EXPECT_EQ(code_with("exp", now - 1), "grant.bad_life");
}

TEST_F(GrantTest, RefusesWhatIsNoGrantThoughItIsSigned) {
  EXPECT_EQ(verify_code(token_for(boost::json::serialize(payload_of(*sign_grant(grant(), key_))))),
            "");
  EXPECT_EQ(code_with("v", 2), "grant.malformed");
  EXPECT_EQ(code_with("alg", "none"), "grant.malformed");
  EXPECT_EQ(code_with("tenant", "a b"), "grant.malformed");
  EXPECT_EQ(code_with("tenant", nullptr), "grant.malformed");
  EXPECT_EQ(code_with("hash", "sha256:12"), "grant.malformed");
  EXPECT_EQ(code_with("caps", boost::json::array{"cap:root"}), "grant.malformed");
  EXPECT_EQ(code_with("egress", boost::json::array{"*"}), "grant.malformed");
  EXPECT_EQ(code_with("limits", boost::json::object{{"disk_mb", 1}}), "grant.malformed");
  EXPECT_EQ(code_with("limits", boost::json::object{{"fuel", -1}}), "grant.malformed");
  EXPECT_EQ(code_with("iat", -1), "grant.malformed");
  EXPECT_EQ(code_with("exp", 9'223'372'036'854'775'807), "grant.malformed");
}

TEST_F(GrantTest, RefusesTextThatIsNoToken) {
  std::string token = *sign_grant(grant(), key_);
  for (const std::string& text :
       {std::string{}, std::string{"."}, std::string{"a.b"}, std::string{"!!!.???"}, token + ".",
        token + "=", "Bearer " + token, token_for("[]"), token_for("{}"), token_for("{\"kid\":1}"),
        token_for("{\"kid\":\"a\",\"kid\":\"b\"}"), std::string(longest_grant_token + 1, 'A')}) {
    EXPECT_EQ(verify_code(text), "grant.malformed") << text.substr(0, 80);
  }
}

TEST_F(GrantTest, RefusesToSignWhatDoesNotFitIntoAHeader) {
  Grant large = grant();
  for (int i = 0; i < 200; ++i) {
    large.egress.push_back("https://" + std::string(60, 'a') + std::to_string(i) + ".example.com");
  }
  EXPECT_EQ(sign_grant(large, key_).error().code, "grant.too_large");
}

TEST_F(GrantTest, RemembersVerifiedTokensWithinItsBound) {
  std::string token = *sign_grant(grant(), key_);
  auto first = verifier_.verify(token);
  auto second = verifier_.verify(token);
  EXPECT_EQ(*first, *second);
  for (int i = 0; i < 10; ++i) {
    Grant another = grant();
    another.config_version = std::to_string(i);
    EXPECT_EQ(verify_code(*sign_grant(another, key_)), "");
    EXPECT_LE(verifier_.remembered(), 4U);
  }
  clock_.advance(10min);
  Grant fresh = grant();
  EXPECT_EQ(verify_code(*sign_grant(fresh, key_)), "");
  EXPECT_EQ(verifier_.remembered(), 1U);
}

TEST_F(GrantTest, RemembersNoRefusedToken) {
  (void)verifier_.verify(*sign_grant(grant(), crypto::SigningKey::generate()));
  (void)verifier_.verify("garbage");
  EXPECT_EQ(verifier_.remembered(), 0U);
}

TEST_F(GrantTest, BindsARequest) {
  EXPECT_TRUE(check_request(grant(), request()));
  ExecuteRequest complete = request();
  complete.install = InstallId::parse("i1");
  complete.version = VersionId::parse("v1");
  EXPECT_TRUE(check_request(grant(), complete));
}

TEST_F(GrantTest, RefusesARequestThatNamesSomethingElse) {
  auto code = [&](auto change) {
    ExecuteRequest changed = request();
    change(changed);
    Status status = check_request(grant(), changed);
    return status ? "" : std::string(status.error().code);
  };
  EXPECT_EQ(code([](auto& r) { r.tenant = *TenantId::parse("T1"); }), "grant.tenant_mismatch");
  EXPECT_EQ(code([](auto& r) { r.extension = *ExtensionId::parse("e2"); }),
            "grant.extension_mismatch");
  EXPECT_EQ(code([](auto& r) { r.install = InstallId::parse("i2"); }), "grant.install_mismatch");
  EXPECT_EQ(code([](auto& r) { r.version = VersionId::parse("v2"); }), "grant.version_mismatch");
  EXPECT_EQ(code([](auto& r) { r.content_hash = *ContentHash::parse(std::string(64, 'b')); }),
            "grant.hash_mismatch");
  EXPECT_EQ(code([](auto& r) { r.envelope = SecretEnvelope{}; }), "grant.envelope_mismatch");
}

TEST_F(GrantTest, PinsTheEnvelope) {
  SecretEnvelope envelope{.ciphertext_b64 = "AAAA", .expires_at = "2027-01-15T08:00:00Z"};
  Grant pinned = grant();
  pinned.envelope_sha256 = envelope_digest(envelope);
  pinned.envelope_expires = envelope.expires_at;
  ExecuteRequest with = request();
  with.envelope = envelope;
  EXPECT_TRUE(check_request(pinned, with));
  EXPECT_EQ(check_request(pinned, request()).error().code, "grant.envelope_mismatch");
  with.envelope->ciphertext_b64 = "AAAB";
  EXPECT_EQ(check_request(pinned, with).error().code, "grant.envelope_mismatch");
  with.envelope = envelope;
  pinned.envelope_expires = "2028-01-15T08:00:00Z";
  EXPECT_EQ(check_request(pinned, with).error().code, "grant.envelope_mismatch");
}

TEST_F(GrantTest, PinsTheConfigurationWhenItSaysSo) {
  ExecuteRequest with = request();
  with.config = {{"region", "eu"}};
  Grant pinned = grant();
  EXPECT_TRUE(check_request(pinned, with));
  pinned.config_sha256 = config_digest({{"region", "us"}});
  EXPECT_EQ(check_request(pinned, with).error().code, "grant.config_mismatch");
  pinned.config_sha256 = config_digest({{"region", "eu"}});
  EXPECT_TRUE(check_request(pinned, with));
}

}  // namespace
}  // namespace alga::domain
