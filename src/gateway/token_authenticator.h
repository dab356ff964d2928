#pragma once

#include <functional>
#include <memory>
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
  /// `keys` outlives the object; `oidc` and `sessions` may be null.
  TokenAuthenticator(domain::Authenticator& keys, std::unique_ptr<domain::Authenticator> oidc,
                     std::unique_ptr<domain::Authenticator> sessions)
      : keys_(keys), oidc_(std::move(oidc)), sessions_(std::move(sessions)) {}

  async::Task<Result<domain::Principal>> authenticate(std::string token) override;

 private:
  [[nodiscard]] domain::Authenticator* authority_of(std::string_view token) const;
  domain::Authenticator& keys_;
  std::unique_ptr<domain::Authenticator> oidc_;
  std::unique_ptr<domain::Authenticator> sessions_;
};

}  // namespace alga::gateway
