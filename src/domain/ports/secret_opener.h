#pragma once

#include <memory>
#include <optional>

#include "base/callback.h"
#include "domain/envelope.h"
#include "domain/execute.h"
#include "domain/secret_map.h"

namespace alga::domain {

/// Turns an envelope into secrets for one execution. The caller has verified the grant and that it
/// names this envelope. Thread-safe.
///
/// Errors: those of check_envelope() and open_sealed() (`secret.*`), `vault.*` for a Vault that
/// does not answer, `secret.no_transit` and `secret.no_broker` where none is configured.
class SecretOpener {
 public:
  using Map = std::shared_ptr<const SecretMap>;
  virtual ~SecretOpener() = default;
  /// The answer, when it can be given without waiting for anybody: secrets that are open still,
  /// envelopes that open here, refusals. None: open() asks Vault or the broker.
  virtual std::optional<Result<Map>> open_at_once(const SecretEnvelope&, const EnvelopeBinding&) {
    return std::nullopt;
  }
  /// `done` may be called before open() returns: what needs no network is answered at once.
  virtual void open(SecretEnvelope envelope, EnvelopeBinding binding, Callback<Map> done) = 0;
};

}  // namespace alga::domain
