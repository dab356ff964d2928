#include "crypto/sign.h"

#include <sodium.h>

#include <algorithm>

#include "crypto/digest.h"
#include "crypto/sodium.h"

namespace alga::crypto {

static_assert(crypto_sign_BYTES == std::tuple_size_v<Signature>);
static_assert(crypto_sign_PUBLICKEYBYTES == 32 && crypto_sign_SEEDBYTES == 32);

std::optional<PublicKey> PublicKey::from_bytes(ByteSpan bytes) {
  if (bytes.size() != crypto_sign_PUBLICKEYBYTES) return std::nullopt;
  require_sodium();
  // libsodium's conversion refuses points of small order and points off the main subgroup.
  std::array<std::uint8_t, crypto_scalarmult_curve25519_BYTES> discarded{};
  if (crypto_sign_ed25519_pk_to_curve25519(discarded.data(), bytes.data()) != 0) {
    return std::nullopt;
  }
  PublicKey key;
  std::ranges::copy(bytes, key.bytes_.begin());
  return key;
}

std::optional<PublicKey> PublicKey::from_base64(std::string_view text) {
  std::optional<std::string> bytes = base64_decode(text);
  if (!bytes) return std::nullopt;
  return from_bytes(as_bytes(*bytes));
}

std::string PublicKey::id() const { return hex_encode(sha256(bytes_)).substr(0, 16); }

bool PublicKey::verify(ByteSpan message, ByteSpan signature) const {
  if (signature.size() != crypto_sign_BYTES) return false;
  require_sodium();
  return crypto_sign_verify_detached(signature.data(), message.data(), message.size(),
                                     bytes_.data()) == 0;
}

SigningKey SigningKey::generate() {
  require_sodium();
  LockedBytes seed(crypto_sign_SEEDBYTES);
  randombytes_buf(seed.bytes().data(), seed.size());
  return from_seed(seed.reveal()).value();
}

Result<SigningKey> SigningKey::from_seed(ByteSpan seed) {
  if (seed.size() != crypto_sign_SEEDBYTES) {
    return fail(Kind::internal, "crypto.bad_key", "an Ed25519 seed has 32 bytes");
  }
  require_sodium();
  std::array<std::uint8_t, crypto_sign_PUBLICKEYBYTES> public_bytes{};
  LockedBytes secret(crypto_sign_SECRETKEYBYTES);
  crypto_sign_seed_keypair(public_bytes.data(), secret.bytes().data(), seed.data());
  std::optional<PublicKey> public_key = PublicKey::from_bytes(public_bytes);
  ALGA_CHECK(public_key.has_value());
  return SigningKey{std::move(secret), *public_key};
}

Signature SigningKey::sign(ByteSpan message) const {
  Signature signature{};
  crypto_sign_detached(signature.data(), nullptr, message.data(), message.size(),
                       secret_.reveal().data());
  return signature;
}

LockedBytes SigningKey::seed() const {
  LockedBytes seed(crypto_sign_SEEDBYTES);
  crypto_sign_ed25519_sk_to_seed(seed.bytes().data(), secret_.reveal().data());
  return seed;
}

}  // namespace alga::crypto
