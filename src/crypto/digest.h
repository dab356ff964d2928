#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace alga::crypto {

using Digest = std::array<std::uint8_t, 32>;

/// SHA-256 (FIPS 180-4) of data that arrives in pieces. One thread at a time.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  void update(ByteSpan bytes);
  void update(std::string_view text) { update(as_bytes(text)); }
  /// The digest of everything so far; the object then starts over.
  [[nodiscard]] Digest finish();
  [[nodiscard]] std::string finish_hex() { return hex_encode(finish()); }

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

[[nodiscard]] Digest sha256(ByteSpan bytes);
/// Lower-case hexadecimal, 64 characters.
[[nodiscard]] std::string sha256_hex(std::string_view text);

/// HMAC-SHA-256 (RFC 2104).
[[nodiscard]] Digest hmac_sha256(ByteSpan key, ByteSpan message);

/// Compares in time that depends on the lengths only. Unequal lengths are unequal.
[[nodiscard]] bool constant_time_equal(ByteSpan a, ByteSpan b);
[[nodiscard]] bool constant_time_equal(std::string_view a, std::string_view b);

/// What the database keeps of an API key, bootstrap token or session token: a SHA-256 under a
/// label of its own. A fast hash is enough because the tokens are 256 random bits, never chosen
/// by people. Lower-case hexadecimal.
[[nodiscard]] std::string hash_token(std::string_view token);

}  // namespace alga::crypto
