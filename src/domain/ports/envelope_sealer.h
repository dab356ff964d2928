#pragma once

#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "domain/envelope.h"
#include "domain/execute.h"
#include "domain/secret_map.h"

namespace alga::domain {

/// Makes the envelopes that runners open: with a key of its own (`sealed:v1`) or with Vault
/// (`vault-transit:v1`). Thread-safe. Blocks. Errors: `secret.malformed`, `secret.seal_failed`, and
/// `vault.*` for a Vault that does not answer.
class EnvelopeSealer {
 public:
  virtual ~EnvelopeSealer() = default;
  [[nodiscard]] virtual EnvelopeAlgorithm algorithm() const = 0;
  /// `version` is the secrets version of the install.
  [[nodiscard]] virtual Result<SecretEnvelope> seal(const SecretMap& secrets,
                                                    const EnvelopeBinding& binding,
                                                    std::string_view version, WallTime expires) = 0;
};

}  // namespace alga::domain
