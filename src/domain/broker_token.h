#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/ids.h"
#include "base/result.h"
#include "crypto/sign.h"

namespace alga::domain {

/// What a `broker-token:v1` says: whoever of the runner pool redeems it first may have the secrets
/// of one install in one version, for seconds.
struct BrokerToken {
  std::string id;  ///< random; names the token in the audit trail
  TenantId tenant;
  InstallId install;
  std::string version;  ///< of the secrets
  WallTime issued;
  WallTime expires;
};

/// `base64url(payload) "." base64url(Ed25519 over "alga-broker-token:v1." + first part)`.
[[nodiscard]] std::string sign_broker_token(const BrokerToken& token,
                                            const crypto::SigningKey& key);

/// Errors: `broker.token_invalid` for anything that was not signed by one of `keys` for the runner
/// pool, or says that it lives longer than any token does; `broker.token_expired`.
[[nodiscard]] Result<BrokerToken> verify_broker_token(std::string_view text,
                                                      std::span<const crypto::PublicKey> keys,
                                                      WallTime now);

}  // namespace alga::domain
