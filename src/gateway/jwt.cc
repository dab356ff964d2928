#include "gateway/jwt.h"

#include <algorithm>
#include <set>

#include "base/bytes.h"
#include "json/decode.h"

namespace alga::gateway {
namespace {

constexpr std::size_t kMaxToken = 16U << 10U;
constexpr std::size_t kMaxKeys = 100;
/// Year 9999: what lies beyond is no time but an attempt to overflow one.
constexpr double kLatestSecond = 253'402'300'799.0;

std::unexpected<Error> invalid(std::string why) {
  return fail(Kind::unauthenticated, "oidc.invalid_token", std::move(why));
}

std::string text_of(const boost::json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string{};
}

/// Decoded base64url member; empty when it is missing or malformed.
std::string bytes_of(const boost::json::object& object, std::string_view name) {
  return base64url_decode(text_of(object, name)).value_or("");
}

Result<crypto::JwsKey> parse_key(const boost::json::object& jwk) {
  const std::string kind = text_of(jwk, "kty");
  const std::string curve = text_of(jwk, "crv");
  if (kind == "OKP" && curve == "Ed25519")
    return crypto::JwsKey::ed25519(as_bytes(bytes_of(jwk, "x")));
  if (kind == "EC" && curve == "P-256") {
    return crypto::JwsKey::p256(as_bytes(bytes_of(jwk, "x")), as_bytes(bytes_of(jwk, "y")));
  }
  if (kind == "RSA") {
    return crypto::JwsKey::rsa(as_bytes(bytes_of(jwk, "n")), as_bytes(bytes_of(jwk, "e")));
  }
  return fail(Kind::invalid, "crypto.bad_key", "another kind of key");
}

bool is_for_signatures(const boost::json::object& jwk, const crypto::JwsKey& key) {
  const std::string use = text_of(jwk, "use");
  const std::string algorithm = text_of(jwk, "alg");
  return (use.empty() || use == "sig") &&
         (algorithm.empty() || algorithm == crypto::name(key.algorithm()));
}

Result<json::Value> decode_part(std::string_view part) {
  const auto text = base64url_decode(part);
  if (!text) return invalid("a part is not base64url");
  auto document = json::parse(*text, {.max_bytes = kMaxToken, .max_depth = 8});
  if (!document || !document->is_object()) return invalid("a part is not a JSON object");
  return document;
}

/// A NumericDate; none when absent.
Result<std::optional<WallTime>> time_of(const boost::json::object& claims, std::string_view name) {
  const auto* value = claims.if_contains(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number()) return invalid("a time is not a number");
  const auto seconds = value->to_number<double>();
  if (!(seconds >= 0 && seconds <= kLatestSecond)) return invalid("a time is out of range");
  return WallTime{std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000))};
}

bool names_audience(const boost::json::object& claims, std::string_view audience) {
  const auto* value = claims.if_contains("aud");
  if (value == nullptr) return false;
  if (value->is_string()) return value->get_string() == audience;
  return value->is_array() && std::ranges::any_of(value->get_array(), [&](const json::Value& one) {
           return one.is_string() && one.get_string() == audience;
         });
}

Status check_times(const boost::json::object& claims, std::chrono::seconds skew, WallTime now) {
  TRY(const auto expires, time_of(claims, "exp"));
  TRY(const auto not_before, time_of(claims, "nbf"));
  TRY(const auto issued, time_of(claims, "iat"));
  if (!expires) return invalid("the token never expires");
  if (*expires + skew <= now) return invalid("the token has expired");
  if (not_before && *not_before - skew > now) return invalid("the token is not valid yet");
  if (issued && *issued - skew > now) return invalid("the token was issued in the future");
  return {};
}

}  // namespace

Result<JwkSet> parse_jwks(std::string_view text) {
  const auto document = json::parse(text, {.max_bytes = 1U << 20U, .max_depth = 8});
  const auto* keys =
      document && document->is_object() ? document->get_object().if_contains("keys") : nullptr;
  if (keys == nullptr || !keys->is_array() || keys->get_array().size() > kMaxKeys) {
    return fail(Kind::bad_gateway, "oidc.bad_jwks", "the issuer's keys are not a JWK Set");
  }
  JwkSet set;
  std::set<std::string> seen;
  for (const json::Value& item : keys->get_array()) {
    if (!item.is_object()) continue;
    const std::string id = text_of(item.get_object(), "kid");
    auto key = parse_key(item.get_object());
    if (id.empty() || !key || !is_for_signatures(item.get_object(), *key)) continue;
    if (!seen.insert(id).second) {
      set.erase(id);
      continue;
    }
    set.emplace(id, std::move(*key));
  }
  return set;
}

Result<UnverifiedJwt> parse_jwt(std::string_view token) {
  const std::size_t first = token.find('.');
  const std::size_t second = first == token.npos ? token.npos : token.find('.', first + 1);
  if (token.size() > kMaxToken || second == token.npos ||
      token.find('.', second + 1) != token.npos) {
    return invalid("not a compact JWS");
  }
  TRY(const json::Value header, decode_part(token.substr(0, first)));
  const auto& fields = header.get_object();
  const std::string type = to_lower(text_of(fields, "typ"));
  if (!type.empty() && type != "jwt" && type != "at+jwt") return invalid("not a JWT");
  if (fields.contains("crit")) return invalid("the header names extensions that are not known");
  const auto payload = base64url_decode(token.substr(first + 1, second - first - 1));
  const auto signature = base64url_decode(token.substr(second + 1));
  UnverifiedJwt jwt{.key_id = text_of(fields, "kid"),
                    .algorithm = text_of(fields, "alg"),
                    .signed_text = std::string(token.substr(0, second))};
  if (!payload || !signature || signature->empty() || jwt.key_id.empty() || jwt.algorithm.empty()) {
    return invalid("the token lacks a part, an algorithm or a key id");
  }
  jwt.payload = *payload;
  jwt.signature = *signature;
  return jwt;
}

Result<json::Value> verify_jwt(const UnverifiedJwt& jwt, const crypto::JwsKey& key,
                               const JwtExpectation& expected, WallTime now) {
  const bool allowed =
      std::ranges::find(expected.algorithms, key.algorithm()) != expected.algorithms.end();
  if (!allowed || jwt.algorithm != crypto::name(key.algorithm())) {
    return invalid("the algorithm does not fit the key");
  }
  if (!key.verify(as_bytes(jwt.signed_text), as_bytes(jwt.signature))) {
    return invalid("the signature is not the issuer's");
  }
  auto claims = json::parse(jwt.payload, {.max_bytes = kMaxToken, .max_depth = 8});
  if (!claims || !claims->is_object()) return invalid("the claims are not a JSON object");
  const auto& object = claims->get_object();
  if (text_of(object, "iss") != expected.issuer) return invalid("another issuer");
  if (!names_audience(object, expected.audience)) return invalid("another audience");
  TRY_VOID(check_times(object, expected.skew, now));
  return claims;
}

}  // namespace alga::gateway
