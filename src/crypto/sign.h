#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "crypto/locked_bytes.h"

namespace alga::crypto {

using Signature = std::array<std::uint8_t, 64>;

/// An Ed25519 public key (RFC 8032), 32 bytes.
class PublicKey {
 public:
  /// None unless it is 32 bytes that encode a usable point (not of small order).
  [[nodiscard]] static std::optional<PublicKey> from_bytes(ByteSpan bytes);
  /// Standard base64 of the 32 bytes.
  [[nodiscard]] static std::optional<PublicKey> from_base64(std::string_view text);

  [[nodiscard]] ByteSpan bytes() const [[clang::lifetimebound]] { return bytes_; }
  [[nodiscard]] std::string base64() const { return base64_encode(bytes_); }
  /// First 16 hexadecimal digits of the SHA-256 of the key: a name for it.
  [[nodiscard]] std::string id() const;

  /// True when `signature` is by this key over exactly `message`.
  [[nodiscard]] bool verify(ByteSpan message, ByteSpan signature) const;

  bool operator==(const PublicKey&) const = default;

 private:
  std::array<std::uint8_t, 32> bytes_{};
};

/// An Ed25519 private key, in locked memory. Move-only.
class SigningKey {
 public:
  [[nodiscard]] static SigningKey generate();
  /// From the 32-byte seed of RFC 8032. Error: `crypto.bad_key`.
  [[nodiscard]] static Result<SigningKey> from_seed(ByteSpan seed);

  [[nodiscard]] Signature sign(ByteSpan message) const;
  [[nodiscard]] const PublicKey& public_key() const [[clang::lifetimebound]] { return public_key_; }
  /// The 32-byte seed, for the provider that stores the key.
  [[nodiscard]] LockedBytes seed() const;

 private:
  SigningKey(LockedBytes secret, PublicKey public_key)
      : secret_(std::move(secret)), public_key_(public_key) {}
  LockedBytes secret_;
  PublicKey public_key_;
};

}  // namespace alga::crypto
