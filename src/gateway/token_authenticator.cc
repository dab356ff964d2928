#include "gateway/token_authenticator.h"

#include <algorithm>

#include "base/bytes.h"
#include "crypto/digest.h"

namespace alga::gateway {
namespace {

constexpr std::string_view kSigningPrefix = "alga-session:v1.";
constexpr std::chrono::hours kLongestLife{24};
constexpr std::chrono::seconds kSkew{60};

std::unexpected<Error> invalid(std::string why) {
  return fail(Kind::unauthenticated, "session.invalid_token", std::move(why));
}

crypto::Digest mac(std::string_view first_part, const Secret& key) {
  return crypto::hmac_sha256(as_bytes(key.reveal()),
                             as_bytes(std::string(kSigningPrefix) + std::string(first_part)));
}

}  // namespace

SessionTokens::SessionTokens(std::function<Result<Secret>()> key, ClaimNames claims,
                             const Clock& clock)
    : key_(std::move(key)), claims_(std::move(claims)), clock_(clock) {}

std::string SessionTokens::sign(std::string_view claims, const Secret& key) {
  const std::string first_part = base64url_encode(as_bytes(claims));
  return std::string(prefix) + first_part + '.' + base64url_encode(mac(first_part, key));
}

async::Task<Result<domain::Principal>> SessionTokens::authenticate(std::string token) {
  co_return check(token);
}

Result<domain::Principal> SessionTokens::check(std::string_view token) const {
  if (!token.starts_with(prefix)) return invalid("not a session token");
  token.remove_prefix(prefix.size());
  const std::size_t dot = token.find('.');
  if (dot == token.npos) return invalid("not a session token");
  const auto signature = base64url_decode(token.substr(dot + 1));
  if (!signature) return invalid("the signature is not base64url");
  TRY(const Secret key, key_());
  if (key.reveal().size() != key_bytes) {
    return fail(Kind::unavailable, "session.bad_key", "the session key does not have 32 bytes");
  }
  if (!crypto::constant_time_equal(mac(token.substr(0, dot), key), as_bytes(*signature))) {
    return invalid("the signature is not the host application's");
  }
  const auto text = base64url_decode(token.substr(0, dot));
  const auto claims = json::parse(text.value_or(""), {.max_bytes = 16U << 10U, .max_depth = 8});
  if (!claims || !claims->is_object()) return invalid("the claims are not a JSON object");
  const auto* expires = claims->get_object().if_contains("exp");
  if (expires == nullptr || !expires->is_int64()) return invalid("the token never expires");
  const auto now = std::chrono::floor<std::chrono::seconds>(clock_.wall().time_since_epoch());
  if (expires->get_int64() <= now.count()) return invalid("the token has expired");
  if (expires->get_int64() > (now + kLongestLife + kSkew).count()) {
    return invalid("the token lives too long");
  }
  auto principal = principal_from_claims(*claims, claims_);
  if (!principal) return invalid(principal.error().message);
  if (principal->is_operator()) return invalid("a session makes no operator");
  principal->id.replace(0, principal->id.find(':'), "session");
  principal->source = domain::Principal::Source::session;
  return principal;
}

domain::Authenticator* TokenAuthenticator::authority_of(std::string_view token) const {
  if (token.starts_with(SessionTokens::prefix)) return authorities_.sessions;
  if (token.starts_with("alga_")) return authorities_.keys;
  return std::ranges::count(token, '.') == 2 ? authorities_.oidc : nullptr;
}

async::Task<Result<domain::Principal>> TokenAuthenticator::authenticate(std::string token) {
  domain::Authenticator* authority = authority_of(token);
  if (authority == nullptr) {
    co_return fail(Kind::unauthenticated, "auth.invalid_token", "the token is not valid");
  }
  auto principal = co_await authority->authenticate(std::move(token));
  co_return principal;
}

}  // namespace alga::gateway
