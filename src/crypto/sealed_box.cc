#include "crypto/sealed_box.h"

#include <sodium.h>

#include <algorithm>

#include "crypto/sodium.h"

namespace alga::crypto {

static_assert(crypto_box_PUBLICKEYBYTES == 32);

std::optional<BoxPublicKey> BoxPublicKey::from_base64(std::string_view text) {
  const std::optional<std::string> bytes = base64_decode(text);
  BoxPublicKey key;
  if (!bytes || bytes->size() != key.bytes_.size()) return std::nullopt;
  std::ranges::copy(*bytes, key.bytes_.begin());
  return key;
}

std::string BoxPublicKey::base64() const { return base64_encode(bytes_); }

Result<std::string> BoxPublicKey::seal(ByteSpan plaintext) const {
  require_sodium();
  std::string sealed(plaintext.size() + crypto_box_SEALBYTES, '\0');
  auto* out = reinterpret_cast<std::uint8_t*>(sealed.data());
  if (crypto_box_seal(out, plaintext.data(), plaintext.size(), bytes_.data()) != 0) {
    return fail(Kind::invalid, "crypto.bad_key", "not a usable X25519 public key");
  }
  return sealed;
}

BoxKeyPair BoxKeyPair::generate() {
  require_sodium();
  BoxPublicKey key;
  LockedBytes secret(crypto_box_SECRETKEYBYTES);
  crypto_box_keypair(key.bytes_.data(), secret.bytes().data());
  return {key, std::move(secret)};
}

Result<LockedBytes> BoxKeyPair::open(ByteSpan sealed) const {
  const auto refused = [] {
    return fail(Kind::denied, "crypto.open_failed", "the sealed bytes do not open");
  };
  if (sealed.size() < crypto_box_SEALBYTES) return refused();
  LockedBytes plaintext(sealed.size() - crypto_box_SEALBYTES);
  if (crypto_box_seal_open(plaintext.bytes().data(), sealed.data(), sealed.size(),
                           public_.bytes_.data(), secret_.reveal().data()) != 0) {
    return refused();
  }
  return plaintext;
}

}  // namespace alga::crypto
