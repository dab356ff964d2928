#include "crypto/digest.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sodium.h>

#include "base/result.h"

namespace alga::crypto {

struct Sha256::Context {
  EVP_MD_CTX* handle = EVP_MD_CTX_new();
  Context() {
    ALGA_CHECK(handle != nullptr);
    start();
  }
  ~Context() { EVP_MD_CTX_free(handle); }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  void start() const { ALGA_CHECK(EVP_DigestInit_ex(handle, EVP_sha256(), nullptr) == 1); }
};

Sha256::Sha256() : context_(std::make_unique<Context>()) {}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::update(ByteSpan bytes) {
  ALGA_CHECK(EVP_DigestUpdate(context_->handle, bytes.data(), bytes.size()) == 1);
}

Digest Sha256::finish() {
  Digest digest{};
  unsigned int size = 0;
  ALGA_CHECK(EVP_DigestFinal_ex(context_->handle, digest.data(), &size) == 1);
  ALGA_CHECK(size == digest.size());
  context_->start();
  return digest;
}

Digest sha256(ByteSpan bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.finish();
}

std::string sha256_hex(std::string_view text) { return hex_encode(sha256(as_bytes(text))); }

Digest hmac_sha256(ByteSpan key, ByteSpan message) {
  // OpenSSL takes a null key pointer for "the key of last time"; an empty key is not that.
  static constexpr std::uint8_t empty = 0;
  Digest digest{};
  unsigned int size = 0;
  const void* key_bytes = key.empty() ? &empty : key.data();
  ALGA_CHECK(HMAC(EVP_sha256(), key_bytes, static_cast<int>(key.size()), message.data(),
                  message.size(), digest.data(), &size) != nullptr);
  ALGA_CHECK(size == digest.size());
  return digest;
}

bool constant_time_equal(ByteSpan a, ByteSpan b) {
  return a.size() == b.size() && sodium_memcmp(a.data(), b.data(), a.size()) == 0;
}

bool constant_time_equal(std::string_view a, std::string_view b) {
  return constant_time_equal(as_bytes(a), as_bytes(b));
}

std::string hash_token(std::string_view token) {
  Sha256 hash;
  hash.update("alga-token:v1\n");
  hash.update(token);
  return hash.finish_hex();
}

}  // namespace alga::crypto
