#pragma once

#include <functional>
#include <string>

#include "base/clock.h"
#include "base/secret.h"
#include "domain/ports/authenticator.h"
#include "gateway/oidc_authenticator.h"

namespace alga::gateway {

/// Tokens by which a host application vouches for its own users:
/// `alga_sess_<base64url(claims)>.<base64url(HMAC-SHA-256 over "alga-session:v1." + first part)>`.
/// Claims as in a JWT: `sub`, `exp` (at most a day away), `roles`, `tenant` and those of the user.
/// A session never makes an operator. Error: `session.invalid_token`.
class SessionTokens final : public domain::Authenticator {
 public:
  static constexpr std::string_view prefix = "alga_sess_";
  static constexpr std::size_t key_bytes = 32;

  /// `key` gives the 32 bytes shared with the host application; asked for each token, so that it
  /// can be rotated. `clock` outlives the object.
  SessionTokens(std::function<Result<Secret>()> key, ClaimNames claims, const Clock& clock);

  async::Task<Result<domain::Principal>> authenticate(std::string token) override;

  /// A token over `claims` (a JSON object), as the host application makes it; for tests and tools.
  [[nodiscard]] static std::string sign(std::string_view claims, const Secret& key);

 private:
  Result<domain::Principal> check(std::string_view token) const;
  std::function<Result<Secret>()> key_;
  ClaimNames claims_;
  const Clock& clock_;
};

/// Sends each token to the one that knows its kind, by its shape: `alga_sess_…` are sessions, other
/// `alga_…` API keys and bootstrap tokens, and what has two dots is a JWT. A kind that is not
/// configured is `auth.invalid_token`, as is any other text.
class TokenAuthenticator final : public domain::Authenticator {
 public:
  /// Null: tokens of that kind are refused. All of them outlive the object.
  struct Authorities {
    domain::Authenticator* keys = nullptr;
    domain::Authenticator* oidc = nullptr;
    domain::Authenticator* sessions = nullptr;
  };
  explicit TokenAuthenticator(Authorities authorities) : authorities_(authorities) {}

  async::Task<Result<domain::Principal>> authenticate(std::string token) override;

 private:
  [[nodiscard]] domain::Authenticator* authority_of(std::string_view token) const;
  const Authorities authorities_;
};

}  // namespace alga::gateway
