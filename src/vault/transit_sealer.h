#pragma once

#include <atomic>
#include <string>

#include "domain/ports/envelope_sealer.h"
#include "vault/vault_engines.h"

namespace alga::vault {

/// Makes `vault-transit:v1` envelopes: Vault encrypts under a key that never leaves it, and
/// authenticates tenant, install, version and expiry.
class TransitSealer final : public domain::EnvelopeSealer {
 public:
  /// At most `concurrency` calls wait for Vault at once; more are `vault.unavailable` at once, so
  /// that a slow Vault cannot take every thread of the caller's pool. `transit` outlives the
  /// object.
  TransitSealer(VaultTransit& transit, std::string mount, std::string key, int concurrency = 4)
      : transit_(transit),
        mount_(std::move(mount)),
        key_(std::move(key)),
        concurrency_(concurrency) {}

  [[nodiscard]] domain::EnvelopeAlgorithm algorithm() const override {
    return domain::EnvelopeAlgorithm::vault_transit;
  }
  [[nodiscard]] Result<domain::SecretEnvelope> seal(const domain::SecretMap& secrets,
                                                    const domain::EnvelopeBinding& binding,
                                                    std::string_view version,
                                                    WallTime expires) override;

 private:
  VaultTransit& transit_;
  const std::string mount_, key_;
  const int concurrency_;
  std::atomic<int> waiting_{0};
};

}  // namespace alga::vault
