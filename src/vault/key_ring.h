#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "crypto/aead.h"
#include "domain/ports/key_provider.h"
#include "domain/ports/secret_provider.h"

namespace alga::vault {

/// Symmetric keys by id, one of them current. Kept as one application secret: a JSON object
/// `{"current":"<id>","keys":{"<id>":"<base64 of 32 bytes>"}}`. Move-only. Of several that make or
/// change a ring at once, in whichever processes, none loses a key of another; who does not get his
/// turn is told `keys.unavailable`.
struct KeyRing {
  std::string current;
  std::map<std::string, crypto::AeadKey, std::less<>> keys;
};

/// Name of the ring for `sealed:v1` envelopes and of the ring that wraps data keys.
inline constexpr std::string_view envelope_keys_secret = "alga_envelope_keys";
inline constexpr std::string_view wrapping_keys_secret = "alga_wrapping_keys";

/// Reads the ring; makes one with a fresh key and stores it when there is none. Errors:
/// `keys.malformed`, and those of the provider: a provider that fails never leads to a new key.
[[nodiscard]] Result<KeyRing> load_or_make_key_ring(domain::SecretProvider& secrets,
                                                    std::string_view name);
/// Reads the ring; `keys.unknown_key` when there is none.
[[nodiscard]] Result<KeyRing> load_key_ring(domain::SecretProvider& secrets, std::string_view name);
/// Adds a fresh key, makes it current and stores the ring. The older keys stay. Error:
/// `keys.ring_full` at a hundred.
[[nodiscard]] Result<KeyRing> rotate_key_ring(domain::SecretProvider& secrets,
                                              std::string_view name);

/// Adds a fresh key that opens and does not seal yet, so that the ring can be brought to every host
/// before use_key_of_ring(). Answers its id. Error: `keys.ring_full`.
[[nodiscard]] Result<std::string> prepare_key_of_ring(domain::SecretProvider& secrets,
                                                      std::string_view name);
/// Makes a key of the ring the current one. Error: `keys.unknown_key`.
[[nodiscard]] Status use_key_of_ring(domain::SecretProvider& secrets, std::string_view name,
                                     std::string_view id);
/// Takes out every key but the current one: nothing that an older one sealed opens any more.
/// Answers how many there were.
[[nodiscard]] Result<std::size_t> retire_keys_of_ring(domain::SecretProvider& secrets,
                                                      std::string_view name);

/// Wraps data keys with a local ring of keys: the embedded default, where nothing but a file is
/// needed. A rotation by another process is noticed by the next wrap() or unwrap() that needs it.
class LocalKeyProvider final : public domain::KeyProvider {
 public:
  /// Loads or makes the ring `wrapping_keys_secret`. `secrets` outlives the provider.
  [[nodiscard]] static Result<std::unique_ptr<LocalKeyProvider>> open(
      domain::SecretProvider& secrets);
  /// Loads the ring; null when there is none.
  [[nodiscard]] static Result<std::unique_ptr<LocalKeyProvider>> open_existing(
      domain::SecretProvider& secrets);

  [[nodiscard]] Result<domain::WrappedKey> wrap(ByteSpan key, const std::string& context) override;
  [[nodiscard]] Result<crypto::LockedBytes> unwrap(const domain::WrappedKey& wrapped,
                                                   const std::string& context) override;
  [[nodiscard]] Result<std::string> current_key_id() override;
  Result<std::string> rotate() override;

 private:
  LocalKeyProvider(domain::SecretProvider& secrets, KeyRing ring)
      : secrets_(secrets), ring_(std::move(ring)) {}
  domain::SecretProvider& secrets_;
  std::mutex mutex_;
  KeyRing ring_;
};

}  // namespace alga::vault
