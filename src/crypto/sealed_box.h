#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"
#include "crypto/locked_bytes.h"

namespace alga::crypto {

/// An X25519 public key to which somebody seals an answer, so that no buffer on its way holds it in
/// clear.
class BoxPublicKey {
 public:
  /// Standard base64 of 32 bytes; none when it is not.
  [[nodiscard]] static std::optional<BoxPublicKey> from_base64(std::string_view text);
  [[nodiscard]] std::string base64() const;

  /// libsodium's sealed box: an ephemeral X25519 key, XSalsa20-Poly1305. Only the holder of the
  /// private key opens it; who sealed it is not authenticated. Error: `crypto.bad_key` for a key
  /// that is no usable point.
  [[nodiscard]] Result<std::string> seal(ByteSpan plaintext) const;

 private:
  friend class BoxKeyPair;
  std::array<std::uint8_t, 32> bytes_{};
};

/// A key pair for one answer. The private half is in locked memory. Move-only.
class BoxKeyPair {
 public:
  [[nodiscard]] static BoxKeyPair generate();
  [[nodiscard]] const BoxPublicKey& public_key() const [[clang::lifetimebound]] { return public_; }
  /// Error: `crypto.open_failed`.
  [[nodiscard]] Result<LockedBytes> open(ByteSpan sealed) const;

 private:
  BoxKeyPair(BoxPublicKey public_key, LockedBytes secret)
      : public_(public_key), secret_(std::move(secret)) {}
  BoxPublicKey public_;
  LockedBytes secret_;
};

}  // namespace alga::crypto
