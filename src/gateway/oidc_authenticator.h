#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "domain/ports/authenticator.h"
#include "egress/http_client.h"
#include "gateway/jwt.h"

namespace alga::gateway {

/// Which claims say what.
struct ClaimNames {
  std::string tenant = "tenant";
  std::string roles = "roles";  ///< a list, or text with blanks between the names
  std::string publisher = "publisher";
  std::string client = "client_id";
  std::string client_name = "client_name";
  /// Lists `extension:read` and `extension:write`, as the roles are listed; empty: the role of a
  /// user is enough.
  std::string permissions;
};

/// The principal that claims describe: of several known roles the most powerful one. Error:
/// `oidc.invalid_token` without a subject or a known role, or without the tenant or publisher that
/// the role belongs to.
[[nodiscard]] Result<domain::Principal> principal_from_claims(const json::Value& claims,
                                                              const ClaimNames& names);

/// Believes JWTs of one OpenID Connect issuer. Its keys are fetched when first needed, kept for ten
/// minutes, and fetched anew (at most every ten seconds) when a token names a key that is not among
/// them, so that a rotation is followed without delay. While the issuer cannot be reached the last
/// keys count for a day. Thread-safe.
///
/// Errors: `oidc.invalid_token` (unauthenticated), `oidc.unavailable` when no keys could be had.
class OidcAuthenticator final : public domain::Authenticator {
 public:
  struct Options {
    std::string issuer;
    std::string audience;
    std::string jwks_url;  ///< empty: from `<issuer>/.well-known/openid-configuration`
    std::vector<crypto::JwsAlgorithm> algorithms{
        crypto::JwsAlgorithm::eddsa, crypto::JwsAlgorithm::es256, crypto::JwsAlgorithm::rs256};
    ClaimNames claims;
    std::chrono::seconds skew{60};
    egress::ClientTls tls;
  };
  /// Gets the text of a URL; answers a `done` of any thread. By default egress::HttpClient.
  using Fetch = std::function<void(std::string url, Callback<std::string> done)>;

  /// `clock` outlives the object.
  OidcAuthenticator(Options options, Fetch fetch, const Clock& clock, Logger log);
  ~OidcAuthenticator() override;

  async::Task<Result<domain::Principal>> authenticate(std::string token) override;

 private:
  struct Keys;
  Options options_;
  const Clock& clock_;
  std::shared_ptr<Keys> keys_;
};

/// Fetches documents of at most 1 MiB in at most 5 s over our HTTP client, which outlives it.
[[nodiscard]] OidcAuthenticator::Fetch fetch_over(egress::HttpClient& client,
                                                  egress::ClientTls tls = {});

}  // namespace alga::gateway
