#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "crypto/jws_key.h"
#include "json/parse.h"

namespace alga::gateway {

/// Public keys of an issuer by key id.
using JwkSet = std::map<std::string, crypto::JwsKey, std::less<>>;

/// Reads a JWK Set (RFC 7517). Keys that are for encryption, of another kind, without an id or not
/// well-formed are left out, as the standard asks; two keys with one id are both left out. At most
/// 100 keys. Error: `oidc.bad_jwks`.
[[nodiscard]] Result<JwkSet> parse_jwks(std::string_view text);

/// The parts of a compact JWS, decoded but not yet believed.
struct UnverifiedJwt {
  std::string key_id;
  std::string algorithm;
  std::string signed_text;
  std::string signature;
  std::string payload;
};
/// Error: `oidc.invalid_token` for anything but three base64url parts of bounded size with a header
/// that has `alg` and `kid`, is typed JWT or at+jwt if it has a type, and names nothing `crit`ical.
[[nodiscard]] Result<UnverifiedJwt> parse_jwt(std::string_view token);

/// What a token must say.
struct JwtExpectation {
  std::string issuer;
  std::string audience;
  std::vector<crypto::JwsAlgorithm> algorithms;
  std::chrono::seconds skew{60};
};
/// Verifies the signature with the key, which alone decides the algorithm, and then issuer,
/// audience, `exp` (required), `nbf` and `iat`. Answers the claims. Error: `oidc.invalid_token`;
/// the message says what was wrong without repeating a value.
[[nodiscard]] Result<json::Value> verify_jwt(const UnverifiedJwt& jwt, const crypto::JwsKey& key,
                                             const JwtExpectation& expected, WallTime now);

}  // namespace alga::gateway
