// Keys of the two kinds that most issuers have. They are those of RFC 7515, appendices A.2 (RSA)
// and A.3 (EC); the signatures below were made with their private halves, which stand there, too.

#include <gtest/gtest.h>

#include "async/spawn.h"
#include "base/bytes.h"
#include "crypto/digest.h"
#include "gateway/oidc_authenticator.h"

namespace alga::gateway {
namespace {

const std::string kX = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
const std::string kY = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";
const std::string kModulus =
    "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4"
    "d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5re"
    "xMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxX"
    "FvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";

const std::string kEcHeader = R"({"alg":"ES256","kid":"ec"})";
const std::string kRsaHeader = R"({"alg":"RS256","kid":"rsa"})";
const std::string kEcCalledRs256 = R"({"alg":"RS256","kid":"ec"})";
const std::string kRsaCalledEs256 = R"({"alg":"ES256","kid":"rsa"})";

/// Over the claims below, each with the header that its name says.
const std::string kEcSignature =
    "vFBEAaqm6R39p8H0Jrl5NMBSwg2iIWZ0_uO30OpDmj-z5KbqtUyMgD3rKqr0q4fkPxXO9MUiFsxixejw3KqweQ";
const std::string kRsaSignature =
    "J57Mu5jlnXwvRvnSZCc3Kxxdk9kTj6iBDwkbwbPNpgXKI1hrnrlM1sJ99mE1lDU-GMAkrcKX2kHbx8k_4FGP24PazXad"
    "2Lq33QxQWqXNFLCaXuduY8yBMqLfnM9Jmt3xZ3X_IefIUmRp5HijkZ1s6RfjFM5nt_ZDNQzothZtzwWS_e_jf0La-ahn"
    "cegxL0CgMXz9cVgT_WdY9_16xtAV29U90ih8leki3YEzCDA2F7XJYwuISeTwpuq3OAert2MGxbDD2a0-f5U-FeeS27Ep"
    "9DpBvmjkMJ9W5Q2HrVBBDbVSBnKLox6hBm-9cbNQRHZBMkZNwmVod6L8WpokDSl1OQ";
const std::string kEcSignatureCalledRs256 =
    "BGsFNxHwqAnDRd7lHbPStXRaM8I9nhB520kHoeYPy8uGA7X4i2nyArE8i4Vk69XZ5nwj8uCtwnVUx8YWBj6S_g";
const std::string kRsaSignatureCalledEs256 =
    "YgjGXgCxaRwdTc99Z6PB-DBs5HhPs2Q2it7_sDdDbN98FS6PVSsJ4hnjMgDFp9PdXDNhshvsLI98VEKdQq1UeQImHOeC"
    "sO22mpUf7PfLt-hsPOgvzunbq9pANxVYM1yFUB9O-prU1smW8vJxYJ-1sZuoEIXKZM18dF7_um7ftyqKz9m7ODUYitpC"
    "-NTOWkHT1MQyqtNXJQOVEIILAYYsEvdsS0dF8h7O7XqnbDeWJs3GgXvTQqLNwZWY55Lg8EOvgj_sUX6sy3ICb7eqge-s"
    "wJHCMeu1bH7fPxUXWxqmKBfSGRIdR937oyYU4M2BX3SaC0QHG0CmI29wu2UVDE7RAw";

std::string signed_text(const std::string& header) {
  const std::string claims =
      R"({"iss":"https://issuer.test/realm","aud":"alga","sub":"u1","exp":253402300799,)"
      R"("roles":["operator"]})";
  return base64url_encode(as_bytes(header)) + '.' + base64url_encode(as_bytes(claims));
}

std::string ec_jwk(const std::string& y = kY, const std::string& curve = R"("crv":"P-256",)") {
  return R"({"kid":"ec","kty":"EC",)" + curve + R"("x":")" + kX + R"(","y":")" + y + R"("})";
}
std::string rsa_jwk(const std::string& modulus = kModulus, const std::string& exponent = "AQAB") {
  return R"({"kid":"rsa","kty":"RSA","n":")" + modulus + R"(","e":")" + exponent + R"("})";
}
std::string jwks(const std::string& keys) { return R"({"keys":[)" + keys + "]}"; }

/// What is said to a token of an issuer that serves both keys.
std::string answer_to(const std::string& text, const std::string& signature,
                      OidcAuthenticator::Options options = {}) {
  options.issuer = "https://issuer.test/realm";
  options.audience = "alga";
  options.jwks_url = "https://issuer.test/keys";
  const ManualClock clock;
  OidcAuthenticator oidc(
      std::move(options),
      [](const std::string&, Callback<std::string> done) {
        done(jwks(ec_jwk() + "," + rsa_jwk()));
      },
      clock, Logger{});
  const auto principal = async::block_on(oidc.authenticate(text + '.' + signature));
  return principal ? "accepted as " + principal->id : principal.error().message;
}

TEST(JwkKeys, AnIssuersEcKeySpeaksForItsTokens) {
  EXPECT_EQ(answer_to(signed_text(kEcHeader), kEcSignature), "accepted as oidc:u1");
}

TEST(JwkKeys, AnIssuersRsaKeySpeaksForItsTokens) {
  EXPECT_EQ(answer_to(signed_text(kRsaHeader), kRsaSignature), "accepted as oidc:u1");
}

TEST(JwkKeys, AnAlgorithmThatIsNotAcceptedIsNoneForItsKeyEither) {
  EXPECT_EQ(answer_to(signed_text(kEcHeader), kEcSignature,
                      {.algorithms = {crypto::JwsAlgorithm::rs256}}),
            "the algorithm does not fit the key");
  EXPECT_EQ(answer_to(signed_text(kRsaHeader), kRsaSignature,
                      {.algorithms = {crypto::JwsAlgorithm::es256}}),
            "the algorithm does not fit the key");
}

TEST(JwkKeys, NoKeySpeaksForTheAlgorithmOfAnother) {
  const std::string misfit = "the algorithm does not fit the key";
  // Each signature is good, and the header lies about the algorithm.
  EXPECT_EQ(answer_to(signed_text(kEcCalledRs256), kEcSignatureCalledRs256), misfit);
  EXPECT_EQ(answer_to(signed_text(kRsaCalledEs256), kRsaSignatureCalledEs256), misfit);
  // The other key's signature.
  EXPECT_EQ(answer_to(signed_text(kEcHeader), kRsaSignature), "the signature is not the issuer's");
  EXPECT_EQ(answer_to(signed_text(kRsaHeader), kEcSignature), "the signature is not the issuer's");
  EXPECT_EQ(answer_to(signed_text(kRsaHeader), kRsaSignatureCalledEs256),
            "the signature is not the issuer's");
}

TEST(JwkKeys, WhatAnIssuerPublishesIsNoSharedSecret) {
  const std::string text = signed_text(R"({"alg":"HS256","kid":"rsa"})");
  for (const std::string& secret : {kModulus, *base64url_decode(kModulus), rsa_jwk()}) {
    const crypto::Digest tag = crypto::hmac_sha256(as_bytes(secret), as_bytes(text));
    EXPECT_EQ(answer_to(text, base64url_encode(tag)), "the algorithm does not fit the key");
  }
}

TEST(JwkKeys, KeysOfAnotherCurveOrTooWeakAreLeftOut) {
  ASSERT_EQ(parse_jwks(jwks(ec_jwk() + "," + rsa_jwk()))->size(), 2U);
  std::string off_the_curve = kY;
  off_the_curve[0] = 'y';
  const std::string bits_1024 = base64url_encode(as_bytes(std::string(128, '\xff')));
  const std::string bits_2047 =
      base64url_encode(as_bytes('\x7f' + std::string(254, '\xff') + '\xfd'));
  for (const std::string& key :
       {ec_jwk(kY, R"("crv":"P-384",)"), ec_jwk(kY, R"("crv":"secp256k1",)"),
        ec_jwk(kY, R"("crv":"Ed25519",)"), ec_jwk(kY, R"("crv":"p-256",)"), ec_jwk(kY, ""),
        ec_jwk(off_the_curve), ec_jwk("AA"), ec_jwk(""), ec_jwk(kX), rsa_jwk(bits_1024),
        rsa_jwk(bits_2047), rsa_jwk(kModulus, ""), rsa_jwk(kModulus, "AQ"), rsa_jwk(""),
        std::string(R"({"kid":"a","kty":"OKP","crv":"P-256","x":")" + kX + R"(","y":")" + kY +
                    "\"}"),
        std::string(R"({"kid":"b","kty":"RSA","crv":"P-256","x":")" + kX + R"(","y":")" + kY +
                    "\"}"),
        std::string(R"({"kid":"c","kty":"EC","crv":"P-256","alg":"RS256","x":")" + kX +
                    R"(","y":")" + kY + "\"}"),
        std::string(R"({"kid":"d","kty":"RSA","alg":"ES256","n":")" + kModulus +
                    R"(","e":"AQAB"})"),
        std::string(R"({"kid":"e","kty":"RSA","alg":"PS256","n":")" + kModulus +
                    R"(","e":"AQAB"})")}) {
    const auto set = parse_jwks(jwks(key));
    ASSERT_TRUE(set) << key;
    EXPECT_TRUE(set->empty()) << key;
  }
}

}  // namespace
}  // namespace alga::gateway
