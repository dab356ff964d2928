#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/clock.h"
#include "domain/envelope.h"
#include "domain/ports/envelope_sealer.h"
#include "domain/ports/secret_provider.h"
#include "vault/key_ring.h"

namespace alga::vault {

/// The ring of `sealed:v1` keys as this process knows it. Another process may rotate the ring: the
/// runner reads it again when an envelope names a key that it does not hold, the control plane when
/// refresh() is called. Thread-safe.
class EnvelopeKeys {
 public:
  /// `secrets` and `clock` outlive the object.
  EnvelopeKeys(domain::SecretProvider& secrets, const Clock& clock)
      : secrets_(secrets), clock_(clock) {}

  /// Reads the ring, and makes it when there is none. For the control plane. Blocks.
  Status load_or_make();
  /// Reads the ring; that there is none yet is no error. For runners. Blocks.
  Status refresh();
  /// refresh(), at most once a second however many ask: for envelopes with an unknown key.
  void refresh_for_unknown_key();

  /// The keys to open with; never null, possibly without keys. Does not block.
  [[nodiscard]] std::shared_ptr<const domain::SealingKeys> opening() const;

  /// The key that seals now.
  struct Current {
    std::string id;
    std::shared_ptr<const crypto::AeadKey> key;
  };
  /// Error: `keys.unknown_key` when there is no ring.
  [[nodiscard]] Result<Current> current() const;

 private:
  Status take(const KeyRing& ring);
  domain::SecretProvider& secrets_;
  const Clock& clock_;
  mutable std::mutex mutex_;
  Current current_;
  std::shared_ptr<const domain::SealingKeys> opening_ =
      std::make_shared<const domain::SealingKeys>();
  std::mutex refreshing_;
  std::optional<SteadyTime> refreshed_;
};

/// Seals `sealed:v1` envelopes with the current key of a ring.
class RingSealer final : public domain::EnvelopeSealer {
 public:
  /// `keys` outlives the object.
  explicit RingSealer(const EnvelopeKeys& keys) : keys_(keys) {}
  [[nodiscard]] domain::EnvelopeAlgorithm algorithm() const override {
    return domain::EnvelopeAlgorithm::sealed;
  }
  [[nodiscard]] Result<domain::SecretEnvelope> seal(const domain::SecretMap& secrets,
                                                    const domain::EnvelopeBinding& binding,
                                                    std::string_view version,
                                                    WallTime expires) override;

 private:
  const EnvelopeKeys& keys_;
};

}  // namespace alga::vault
