#include "domain/envelope.h"

#include <gtest/gtest.h>

#include <boost/json/object.hpp>
#include <chrono>
#include <functional>
#include <string>

namespace alga::domain {
namespace {

using namespace std::chrono_literals;

class Envelope : public ::testing::Test {
 protected:
  Envelope() {
    keys_.add("k1", crypto::AeadKey::from_bytes(key_.reveal()).value());
    keys_.add("other", crypto::AeadKey::generate());
  }

  SecretEnvelope sealed() {
    auto secrets = SecretMap::from_pairs({{"api_key", "s3cret"}});
    return seal_envelope(*secrets, binding_, "v7", key_, "k1", clock_.wall() + 5min).value();
  }
  std::string open_code(const SecretEnvelope& envelope) { return open_code(envelope, binding_); }
  std::string open_code(const SecretEnvelope& envelope, const EnvelopeBinding& binding) {
    auto map = open_sealed(envelope, binding, keys_, clock_.wall());
    return map ? "" : std::string(map.error().code);
  }
  std::string altered(const std::function<void(SecretEnvelope&)>& change) {
    SecretEnvelope envelope = sealed();
    change(envelope);
    return open_code(envelope);
  }
  std::string check_code(const SecretEnvelope& envelope, const EnvelopePolicy& policy = {}) {
    auto algorithm = check_envelope(envelope, clock_.wall(), policy);
    return algorithm ? "" : std::string(algorithm.error().code);
  }

  ManualClock clock_;
  crypto::AeadKey key_ = crypto::AeadKey::generate();
  SealingKeys keys_;
  EnvelopeBinding binding_{*TenantId::parse("tenant-a"), *InstallId::parse("install-1")};
};

TEST_F(Envelope, OpensWhatWasSealed) {
  SecretEnvelope envelope = sealed();
  EXPECT_EQ(envelope.algorithm, "sealed:v1");
  EXPECT_EQ(envelope.ciphertext_b64.find("s3cret"), std::string::npos);
  auto map = open_sealed(envelope, binding_, keys_, clock_.wall());
  ASSERT_TRUE(map) << map.error().message;
  EXPECT_EQ(map->reveal("api_key"), "s3cret");
}

TEST_F(Envelope, RefusesEveryFlippedByteOfTheCiphertext) {
  SecretEnvelope envelope = sealed();
  std::string bytes = *base64_decode(envelope.ciphertext_b64);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    std::string changed = bytes;
    changed[i] = static_cast<char>(changed[i] ^ 0x80);
    envelope.ciphertext_b64 = base64_encode(as_bytes(changed));
    ASSERT_EQ(open_code(envelope), "secret.altered") << "byte " << i;
  }
}

TEST_F(Envelope, RefusesAnotherTenantsInstallsOrVersionsEnvelope) {
  EXPECT_EQ(open_code(sealed(), {*TenantId::parse("tenant-b"), binding_.install}),
            "secret.altered");
  EXPECT_EQ(open_code(sealed(), {binding_.tenant, *InstallId::parse("install-2")}),
            "secret.altered");
  EXPECT_EQ(altered([](auto& e) { e.version = "v6"; }), "secret.altered");
}

TEST_F(Envelope, RefusesAChangedOrPassedExpiry) {
  EXPECT_EQ(altered([&](auto& e) { e.expires_at = format_rfc3339(clock_.wall() + 6min); }),
            "secret.altered");
  SecretEnvelope envelope = sealed();
  clock_.advance(5min - 1ms);
  EXPECT_EQ(open_code(envelope), "");
  clock_.advance(1ms);
  EXPECT_EQ(open_code(envelope), "secret.expired");
}

TEST_F(Envelope, RefusesAMissingGarbledOrDistantExpiry) {
  EXPECT_EQ(altered([](auto& e) { e.expires_at.reset(); }), "secret.malformed");
  EXPECT_EQ(altered([](auto& e) { e.expires_at = ""; }), "secret.malformed");
  EXPECT_EQ(altered([](auto& e) { e.expires_at = "tomorrow"; }), "secret.malformed");
  EXPECT_EQ(altered([](auto& e) { e.expires_at = "9999-12-31T23:59:59Z"; }), "secret.malformed");
}

TEST_F(Envelope, RefusesUnknownAndSwappedKeys) {
  EXPECT_EQ(altered([](auto& e) { e.key_id = "k9"; }), "secret.unknown_key");
  EXPECT_EQ(altered([](auto& e) { e.key_id = "other"; }), "secret.altered");
  EXPECT_EQ(altered([](auto& e) { e.key_id.reset(); }), "secret.malformed");
}

TEST_F(Envelope, NeverTakesItForAWeakerAlgorithm) {
  EXPECT_EQ(altered([](auto& e) { e.algorithm.reset(); }), "secret.inline_not_allowed");
  EXPECT_EQ(altered([](auto& e) { e.algorithm = "inline/base64"; }), "secret.inline_not_allowed");
  for (const char* algorithm : {"", "SEALED:v1", "sealed:v2", "sealed", "vault-transit",
                                "Vault-Transit:v1", "none", " sealed:v1"}) {
    EXPECT_EQ(altered([&](auto& e) { e.algorithm = algorithm; }), "secret.unknown_algorithm")
        << algorithm;
  }
  EXPECT_EQ(altered([](auto& e) {
              e.algorithm = "broker-token:v1";
              e.expires_at.reset();
            }),
            "secret.malformed");
}

TEST_F(Envelope, RefusesCiphertextThatIsNone) {
  EXPECT_EQ(altered([](auto& e) { e.ciphertext_b64 = ""; }), "secret.malformed");
  EXPECT_EQ(altered([](auto& e) { e.ciphertext_b64 = "  "; }), "secret.malformed");
  EXPECT_EQ(altered([](auto& e) { e.ciphertext_b64 += "!"; }), "secret.malformed");
  EXPECT_EQ(altered([](auto& e) { e.ciphertext_b64 = "AAAA"; }), "secret.altered");
  EXPECT_EQ(altered([](auto& e) { e.ciphertext_b64.assign(3U << 20U, 'A'); }), "secret.malformed");
}

TEST_F(Envelope, RefusesToOpenAnotherAlgorithmAsSealed) {
  SecretEnvelope vault{.ciphertext_b64 = "vault:v1:abc",
                       .algorithm = "vault-transit:v1",
                       .expires_at = format_rfc3339(clock_.wall() + 1min),
                       .key_path = "k"};
  EXPECT_EQ(check_code(vault), "");
  EXPECT_EQ(open_code(vault), "secret.unknown_algorithm");
}

TEST_F(Envelope, ChecksTheShapeOfVaultEnvelopes) {
  SecretEnvelope vault{.ciphertext_b64 = "vault:v1:abc",
                       .algorithm = "vault-transit:v1",
                       .key_path = "extension-secrets"};
  EXPECT_EQ(check_code(vault), "secret.malformed");
  EXPECT_EQ(check_code(vault, {.require_expiry = false}), "");
  vault.expires_at = format_rfc3339(clock_.wall() + 1min);
  EXPECT_EQ(check_code(vault), "");
  vault.key_path = "../sys/seal";
  EXPECT_EQ(check_code(vault), "secret.malformed");
  vault.key_path = "k";
  vault.mount = "a/b";
  EXPECT_EQ(check_code(vault), "secret.malformed");
  vault.mount = "transit";
  vault.ciphertext_b64 = "AAAA";
  EXPECT_EQ(check_code(vault), "secret.malformed");
}

TEST_F(Envelope, LetsBrokerTokensLiveForSecondsOnly) {
  SecretEnvelope broker{.ciphertext_b64 = "dG9rZW4=",
                        .version = "v1",
                        .algorithm = "broker-token:v1",
                        .key_id = "k1",
                        .expires_at = format_rfc3339(clock_.wall() + 30s)};
  EXPECT_EQ(check_code(broker), "");
  broker.expires_at = format_rfc3339(clock_.wall() + 1h);
  EXPECT_EQ(check_code(broker), "secret.malformed");
}

TEST_F(Envelope, OpensInlineSecretsOnlyWhenAllowed) {
  SecretEnvelope plain{.ciphertext_b64 = base64_encode(as_bytes(R"({"a":"b"})"))};
  EnvelopePolicy allow{.allow_inline = true};
  EXPECT_EQ(open_inline(plain, clock_.wall(), {}).error().code, "secret.inline_not_allowed");
  EXPECT_EQ(open_inline(plain, clock_.wall(), allow)->reveal("a"), "b");
  plain.ciphertext_b64 = "  ";
  EXPECT_TRUE(open_inline(plain, clock_.wall(), allow)->empty());
  plain.ciphertext_b64 = "%%%";
  EXPECT_EQ(open_inline(plain, clock_.wall(), allow).error().code, "secret.malformed");
  plain.ciphertext_b64 = base64_encode(as_bytes("[1]"));
  EXPECT_EQ(open_inline(plain, clock_.wall(), allow).error().code, "secret.malformed");
  plain.expires_at = format_rfc3339(clock_.wall());
  EXPECT_EQ(open_inline(plain, clock_.wall(), allow).error().code, "secret.expired");
  EXPECT_EQ(open_inline(sealed(), clock_.wall(), allow).error().code, "secret.unknown_algorithm");
}

TEST_F(Envelope, DescribesItselfInAHeaderThatMustAgree) {
  SecretEnvelope envelope = sealed();
  std::string header = envelope_header(envelope);
  EXPECT_EQ(header.find(envelope.ciphertext_b64), std::string::npos);
  EXPECT_TRUE(check_envelope_header(envelope, header));
  EXPECT_TRUE(check_envelope_header(envelope, " " + header));
  EXPECT_FALSE(check_envelope_header(envelope, ""));
  EXPECT_FALSE(check_envelope_header(envelope, "{}"));
  SecretEnvelope other = sealed();
  EXPECT_EQ(check_envelope_header(other, header).error().code, "secret.header_mismatch");
}

TEST_F(Envelope, HasADigestOverEveryField) {
  const SecretEnvelope envelope = sealed();
  const std::string digest = envelope_digest(envelope);
  EXPECT_EQ(digest.size(), 64U);
  for (auto change : std::vector<std::function<void(SecretEnvelope&)>>{
           [](auto& e) { e.ciphertext_b64 += "A"; }, [](auto& e) { e.version = "x"; },
           [](auto& e) { e.algorithm = "x"; }, [](auto& e) { e.key_id = "x"; },
           [](auto& e) { e.expires_at = "x"; }, [](auto& e) { e.key_path = "x"; },
           [](auto& e) { e.mount = "x"; }}) {
    SecretEnvelope changed = envelope;
    change(changed);
    EXPECT_NE(envelope_digest(changed), digest);
  }
}

TEST_F(Envelope, TravelsAsJson) {
  SecretEnvelope envelope = sealed();
  auto again = envelope_from_json(envelope_to_json(envelope));
  ASSERT_TRUE(again);
  EXPECT_EQ(envelope_digest(*again), envelope_digest(envelope));
  EXPECT_EQ(open_code(*again), "");
}

TEST_F(Envelope, RefusesJsonOfAnotherShape) {
  for (const char* text :
       {"{}", "[]", "\"x\"", R"({"ciphertext_b64":1})", R"({"ciphertext_b64":"","extra":1})",
        R"({"ciphertext_b64":"","algorithm":1})", R"({"ciphertext_b64":"","version":{"a":1}})",
        R"({"ciphertext_b64":"","key_id":"a\u0000b"})",
        R"({"ciphertext_b64":"","mount":"a\r\nb"})"}) {
    auto envelope = envelope_from_json(json::parse(text).value(), "/secret_envelope");
    ASSERT_FALSE(envelope) << text;
    EXPECT_EQ(envelope.error().code, "secret.malformed");
    EXPECT_TRUE(envelope.error().message.starts_with("/secret_envelope"))
        << envelope.error().message;
  }
}

TEST_F(Envelope, RefusesToSealForAVersionThatIsNone) {
  EXPECT_EQ(seal_envelope(SecretMap{}, binding_, "a\nb", key_, "k1", clock_.wall()).error().code,
            "secret.malformed");
}

}  // namespace
}  // namespace alga::domain
