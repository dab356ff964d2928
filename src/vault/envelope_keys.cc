#include "vault/envelope_keys.h"

namespace alga::vault {
namespace {

constexpr std::chrono::seconds kRefreshPause{1};

}  // namespace

Status EnvelopeKeys::load_or_make() {
  TRY(const KeyRing ring, load_or_make_key_ring(secrets_, envelope_keys_secret));
  return take(ring);
}

Status EnvelopeKeys::refresh() {
  auto ring = load_key_ring(secrets_, envelope_keys_secret);
  if (ring) return take(*ring);
  if (ring.error().code == "keys.unknown_key") return {};
  return fail(std::move(ring).error());
}

void EnvelopeKeys::refresh_for_unknown_key() {
  const std::scoped_lock lock(refreshing_);
  if (refreshed_ && clock_.steady() - *refreshed_ < kRefreshPause) return;
  // Without a ring, or with a provider that fails, the key stays unknown and is reported as such.
  (void)refresh();
  refreshed_ = clock_.steady();
}

Status EnvelopeKeys::take(const KeyRing& ring) {
  auto opening = std::make_shared<domain::SealingKeys>();
  Current current{.id = ring.current, .key = nullptr};
  for (const auto& [id, key] : ring.keys) {
    TRY(crypto::AeadKey copy, crypto::AeadKey::from_bytes(key.reveal()));
    opening->add(id, std::move(copy));
    if (id != ring.current) continue;
    TRY(crypto::AeadKey sealing, crypto::AeadKey::from_bytes(key.reveal()));
    current.key = std::make_shared<const crypto::AeadKey>(std::move(sealing));
  }
  const std::scoped_lock lock(mutex_);
  opening_ = std::move(opening);
  current_ = std::move(current);
  return {};
}

std::shared_ptr<const domain::SealingKeys> EnvelopeKeys::opening() const {
  const std::scoped_lock lock(mutex_);
  return opening_;
}

Result<EnvelopeKeys::Current> EnvelopeKeys::current() const {
  const std::scoped_lock lock(mutex_);
  if (current_.key) return current_;
  return fail(Kind::internal, "keys.unknown_key", "there is no key for envelopes");
}

Result<domain::SecretEnvelope> RingSealer::seal(const domain::SecretMap& secrets,
                                                const domain::EnvelopeBinding& binding,
                                                std::string_view version, WallTime expires) {
  TRY(const EnvelopeKeys::Current current, keys_.current());
  return domain::seal_envelope(secrets, binding, version, *current.key, current.id, expires);
}

}  // namespace alga::vault
