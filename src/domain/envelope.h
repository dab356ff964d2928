#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/ids.h"
#include "base/result.h"
#include "crypto/aead.h"
#include "domain/execute.h"
#include "domain/secret_map.h"
#include "json/decode.h"

// Secrets on their way to a runner: docs/contracts/envelope.md. Every failure refuses; nothing is
// ever taken for a weaker algorithm than it names.

namespace alga::domain {

enum class EnvelopeAlgorithm : std::uint8_t {
  sealed,         ///< `sealed:v1`: XChaCha20-Poly1305 under a key that the runner holds
  vault_transit,  ///< `vault-transit:v1`: Vault decrypts for the runner
  broker_token,   ///< `broker-token:v1`: redeemed at the control plane
  inline_base64,  ///< `inline/base64` or absent: no protection; development only
};
[[nodiscard]] std::string_view name(EnvelopeAlgorithm algorithm);

/// Whose secrets an envelope holds; part of what is authenticated.
struct EnvelopeBinding {
  TenantId tenant;
  InstallId install;
};

/// What a runner accepts.
struct EnvelopePolicy {
  bool allow_inline = false;
  /// Drop-in use behind a reference control plane, which may leave `expires_at` out of Vault
  /// envelopes. Sealed and broker envelopes need it always.
  bool require_expiry = true;
  std::chrono::seconds longest_life = std::chrono::hours{24};
  std::chrono::seconds longest_broker_life = std::chrono::seconds{120};
};

/// Shape, algorithm and expiry, before anything is decrypted or asked of anybody. Errors:
/// `secret.malformed`, `secret.unknown_algorithm`, `secret.inline_not_allowed`, `secret.expired`.
[[nodiscard]] Result<EnvelopeAlgorithm> check_envelope(const SecretEnvelope& envelope, WallTime now,
                                                       const EnvelopePolicy& policy = {});

/// Keys for `sealed:v1` by key id: the current one and those still in rotation. Move-only.
class SealingKeys {
 public:
  void add(std::string key_id, crypto::AeadKey key) {
    keys_.insert_or_assign(std::move(key_id), std::move(key));
  }
  [[nodiscard]] const crypto::AeadKey* find(std::string_view key_id) const
      [[clang::lifetimebound]] {
    auto found = keys_.find(key_id);
    return found == keys_.end() ? nullptr : &found->second;
  }

 private:
  std::map<std::string, crypto::AeadKey, std::less<>> keys_;
};

/// Seals under a fresh nonce. `version` is the secrets version of the install, an identifier.
/// Error: `secret.malformed` for a version that is none.
[[nodiscard]] Result<SecretEnvelope> seal_envelope(const SecretMap& secrets,
                                                   const EnvelopeBinding& binding,
                                                   std::string_view version,
                                                   const crypto::AeadKey& key,
                                                   std::string_view key_id, WallTime expires);

/// Opens a `sealed:v1` envelope that check_envelope() accepts. Further errors:
/// `secret.unknown_key`; `secret.altered` for altered bytes, another tenant's, install's or
/// version's envelope or a changed expiry, without saying which.
[[nodiscard]] Result<SecretMap> open_sealed(const SecretEnvelope& envelope,
                                            const EnvelopeBinding& binding, const SealingKeys& keys,
                                            WallTime now, const EnvelopePolicy& policy = {});

/// Opens an `inline/base64` envelope, if the policy allows. Blank ciphertext is an empty map, as in
/// the reference.
[[nodiscard]] Result<SecretMap> open_inline(const SecretEnvelope& envelope, WallTime now,
                                            const EnvelopePolicy& policy);

/// SHA-256 (hex) over all fields; what the header pins down.
[[nodiscard]] std::string envelope_digest(const SecretEnvelope& envelope);

[[nodiscard]] bool is_broker_token(const SecretEnvelope& envelope);

/// What a grant pins: envelope_digest(), but of a `broker-token:v1` only algorithm, version and key
/// id, because its token is new for each request and signed itself.
[[nodiscard]] std::string envelope_pin(const SecretEnvelope& envelope);

/// The value of `x-ext-secrets-envelope`: canonical JSON of version, algorithm, key id, expiry and
/// SHA-256. No ciphertext.
[[nodiscard]] std::string envelope_header(const SecretEnvelope& envelope);
/// Error: `secret.header_mismatch` unless `header` says the same of this envelope.
[[nodiscard]] Status check_envelope_header(const SecretEnvelope& envelope, std::string_view header);

/// Strict: strings only, no unknown members, sizes bounded. Error: `secret.malformed`.
[[nodiscard]] Result<SecretEnvelope> envelope_from_json(const json::Value& value,
                                                        std::string_view path = {});
[[nodiscard]] json::Value envelope_to_json(const SecretEnvelope& envelope);

}  // namespace alga::domain
