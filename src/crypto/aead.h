#pragma once

#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "crypto/locked_bytes.h"

namespace alga::crypto {

/// A 256-bit key for seal() and open(), in locked memory. Move-only.
class AeadKey {
 public:
  static constexpr std::size_t size = 32;
  [[nodiscard]] static AeadKey generate();
  /// Error: `crypto.bad_key` unless it is 32 bytes.
  [[nodiscard]] static Result<AeadKey> from_bytes(ByteSpan bytes);
  [[nodiscard]] ByteSpan reveal() const [[clang::lifetimebound]] { return bytes_.reveal(); }

 private:
  explicit AeadKey(LockedBytes bytes) : bytes_(std::move(bytes)) {}
  LockedBytes bytes_;
};

/// Bytes that seal() adds: nonce (24) and tag (16).
inline constexpr std::size_t aead_overhead = 40;

/// XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha): a fresh random nonce, then ciphertext and tag.
/// `context` is authenticated, not contained; open() needs the same.
[[nodiscard]] std::string seal(const AeadKey& key, ByteSpan plaintext, ByteSpan context);

/// The plaintext. Error: `crypto.open_failed` for a wrong key, altered bytes or another context; it
/// does not say which, and no partial plaintext exists.
[[nodiscard]] Result<LockedBytes> open(const AeadKey& key, ByteSpan sealed, ByteSpan context);

}  // namespace alga::crypto
