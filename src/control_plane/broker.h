#pragma once

#include <cstdint>
#include <string>

#include "base/metrics.h"
#include "control_plane/core.h"
#include "control_plane/settings.h"
#include "control_plane/signing_keys.h"
#include "crypto/locked_bytes.h"
#include "domain/broker_token.h"
#include "domain/envelope.h"

namespace alga::control_plane {

/// The secrets broker (`broker-token:v1`): hands the secrets of an install to the runner that holds
/// a token for them. A token is minted for one request, lives for seconds, belongs to the first
/// runner certificate that redeems it, and may be redeemed by that one again until it expires.
/// Every redemption, and every refused one, is in the tenant's audit trail before the secrets
/// leave. Thread-safe; blocks.
class Broker {
 public:
  Broker(const Core& core, Settings& settings, const SigningKeys& keys);

  /// What stands in an install-config and is pinned by its grant: the envelope without the token,
  /// which is new for each request.
  [[nodiscard]] domain::SecretEnvelope blank(std::string version) const;
  /// Puts a fresh token into a blank envelope.
  void mint(const domain::EnvelopeBinding& binding, domain::SecretEnvelope& envelope) const;

  /// The secrets as they are now, even if they have been rotated since the token was minted: a
  /// request that is on its way does not fail for that, and never sees an older value. Errors:
  /// `broker.disabled`, those of verify_broker_token(), `broker.token_mismatch` when the runner
  /// believes it to be for another install, `broker.token_taken`, `broker.install_gone`, and those
  /// of sql and of the key provider.
  [[nodiscard]] Result<Redeemed> redeem(const Redemption& redemption, const RunnerIdentity& runner);
  /// Forgets tokens that have expired.
  Result<std::uint64_t> sweep();

 private:
  [[nodiscard]] Result<Redeemed> open(const domain::BrokerToken& token,
                                      const Redemption& redemption);
  /// Makes the token the runner's and writes the audit trail, or refuses.
  Status claim(const domain::BrokerToken& token, const Redemption& redemption,
               const RunnerIdentity& runner, const std::string& version);
  void audit_refusal(const domain::BrokerToken& token, const Redemption& redemption,
                     const RunnerIdentity& runner, const Error& error);

  const Core& core_;
  Settings& settings_;
  const SigningKeys& keys_;
  Counter& redeemed_;
  Counter& refused_;
  Counter& failed_;
};

}  // namespace alga::control_plane
