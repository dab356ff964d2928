#include "crypto/aead.h"

#include <sodium.h>

#include "crypto/sodium.h"

namespace alga::crypto {
namespace {

constexpr std::size_t nonce_size = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
constexpr std::size_t tag_size = crypto_aead_xchacha20poly1305_ietf_ABYTES;
static_assert(nonce_size + tag_size == aead_overhead);
static_assert(crypto_aead_xchacha20poly1305_ietf_KEYBYTES == AeadKey::size);

}  // namespace

AeadKey AeadKey::generate() {
  LockedBytes bytes(size);
  randombytes_buf(bytes.bytes().data(), size);
  return AeadKey{std::move(bytes)};
}

Result<AeadKey> AeadKey::from_bytes(ByteSpan bytes) {
  if (bytes.size() != size) {
    return fail(Kind::internal, "crypto.bad_key", "a sealing key has 32 bytes");
  }
  return AeadKey{LockedBytes::copy_of(bytes)};
}

std::string seal(const AeadKey& key, ByteSpan plaintext, ByteSpan context) {
  require_sodium();
  std::string out(aead_overhead + plaintext.size(), '\0');
  auto* nonce = reinterpret_cast<std::uint8_t*>(out.data());
  randombytes_buf(nonce, nonce_size);
  crypto_aead_xchacha20poly1305_ietf_encrypt(nonce + nonce_size, nullptr, plaintext.data(),
                                             plaintext.size(), context.data(), context.size(),
                                             nullptr, nonce, key.reveal().data());
  return out;
}

Result<LockedBytes> open(const AeadKey& key, ByteSpan sealed, ByteSpan context) {
  auto refused = [] {
    return fail(Kind::denied, "crypto.open_failed", "the sealed bytes do not open");
  };
  if (sealed.size() < aead_overhead) return refused();
  require_sodium();
  LockedBytes plaintext(sealed.size() - aead_overhead);
  ByteSpan ciphertext = sealed.subspan(nonce_size);
  if (crypto_aead_xchacha20poly1305_ietf_decrypt(
          plaintext.bytes().data(), nullptr, nullptr, ciphertext.data(), ciphertext.size(),
          context.data(), context.size(), sealed.data(), key.reveal().data()) != 0) {
    return refused();
  }
  return plaintext;
}

}  // namespace alga::crypto
