#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"

namespace alga::crypto {

/// Signature algorithms of RFC 7518 section 3.1 and RFC 8037 that we accept.
enum class JwsAlgorithm : std::uint8_t { eddsa, es256, rs256 };

/// `EdDSA`, `ES256`, `RS256`.
[[nodiscard]] std::string_view name(JwsAlgorithm algorithm);

/// A public key of somebody else's token issuer. Its kind decides the one algorithm it verifies, so
/// that a token cannot choose another. Copies share the key; any thread. Error of the makers:
/// `crypto.bad_key`.
class JwsKey {
 public:
  /// 32 bytes of an Ed25519 point.
  [[nodiscard]] static Result<JwsKey> ed25519(ByteSpan x);
  /// 32 bytes each of a point on P-256.
  [[nodiscard]] static Result<JwsKey> p256(ByteSpan x, ByteSpan y);
  /// Big-endian modulus of 2048 to 8192 bits and public exponent.
  [[nodiscard]] static Result<JwsKey> rsa(ByteSpan modulus, ByteSpan exponent);

  [[nodiscard]] JwsAlgorithm algorithm() const { return algorithm_; }
  /// `signature` as a JWS carries it: for ES256 the 64 bytes of r and s.
  [[nodiscard]] bool verify(ByteSpan message, ByteSpan signature) const;

 private:
  struct Native;
  JwsKey(JwsAlgorithm algorithm, std::shared_ptr<const Native> native)
      : algorithm_(algorithm), native_(std::move(native)) {}
  JwsAlgorithm algorithm_;
  std::shared_ptr<const Native> native_;
};

}  // namespace alga::crypto
