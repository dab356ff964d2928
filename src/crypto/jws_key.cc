#include "crypto/jws_key.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>

#include <memory>
#include <vector>

namespace alga::crypto {
namespace {

constexpr std::size_t kCoordinate = 32;
constexpr int kMinRsaBits = 2048;
constexpr int kMaxRsaBits = 8192;
constexpr std::size_t kMaxExponent = 4;

template <auto Free>
struct Freer {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};
template <class T, auto Free>
using Owned = std::unique_ptr<T, Freer<Free>>;

std::unexpected<Error> bad_key(const char* why) {
  return fail(Kind::invalid, "crypto.bad_key", why);
}

EVP_PKEY* from_parameters(const char* type, OSSL_PARAM_BLD* builder) {
  const Owned<OSSL_PARAM, OSSL_PARAM_free> parameters(OSSL_PARAM_BLD_to_param(builder));
  const Owned<EVP_PKEY_CTX, EVP_PKEY_CTX_free> context(
      EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr));
  EVP_PKEY* key = nullptr;
  if (parameters == nullptr || context == nullptr || EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, parameters.get()) != 1) {
    return nullptr;
  }
  return key;
}

/// r and s as OpenSSL wants them: a DER sequence of two integers.
std::vector<std::uint8_t> ecdsa_der(ByteSpan signature) {
  const Owned<ECDSA_SIG, ECDSA_SIG_free> parts(ECDSA_SIG_new());
  BIGNUM* r = BN_bin2bn(signature.data(), kCoordinate, nullptr);
  BIGNUM* s = BN_bin2bn(signature.data() + kCoordinate, kCoordinate, nullptr);
  if (parts == nullptr || ECDSA_SIG_set0(parts.get(), r, s) != 1) {
    BN_free(r);
    BN_free(s);
    return {};
  }
  const int size = i2d_ECDSA_SIG(parts.get(), nullptr);
  if (size <= 0) return {};
  std::vector<std::uint8_t> der(static_cast<std::size_t>(size));
  std::uint8_t* out = der.data();
  i2d_ECDSA_SIG(parts.get(), &out);
  return der;
}

}  // namespace

struct JwsKey::Native {
  explicit Native(EVP_PKEY* pkey) : key(pkey) {}
  Owned<EVP_PKEY, EVP_PKEY_free> key;
};

std::string_view name(JwsAlgorithm algorithm) {
  switch (algorithm) {
    case JwsAlgorithm::eddsa: return "EdDSA";
    case JwsAlgorithm::es256: return "ES256";
    case JwsAlgorithm::rs256: return "RS256";
  }
  return "";
}

Result<JwsKey> JwsKey::ed25519(ByteSpan x) {
  if (x.size() != kCoordinate) return bad_key("an Ed25519 key has 32 bytes");
  auto native = std::make_shared<Native>(
      EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, x.data(), x.size()));
  if (native->key == nullptr) return bad_key("not an Ed25519 key");
  return JwsKey(JwsAlgorithm::eddsa, std::move(native));
}

Result<JwsKey> JwsKey::p256(ByteSpan x, ByteSpan y) {
  if (x.size() != kCoordinate || y.size() != kCoordinate) {
    return bad_key("a P-256 key has coordinates of 32 bytes");
  }
  std::vector<std::uint8_t> point{0x04};  // uncompressed
  point.insert(point.end(), x.begin(), x.end());
  point.insert(point.end(), y.begin(), y.end());
  const Owned<OSSL_PARAM_BLD, OSSL_PARAM_BLD_free> builder(OSSL_PARAM_BLD_new());
  OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0);
  OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(),
                                   point.size());
  auto native = std::make_shared<Native>(from_parameters("EC", builder.get()));
  if (native->key == nullptr) return bad_key("not a point on P-256");
  return JwsKey(JwsAlgorithm::es256, std::move(native));
}

Result<JwsKey> JwsKey::rsa(ByteSpan modulus, ByteSpan exponent) {
  if (modulus.size() > kMaxRsaBits / 8 || exponent.empty() || exponent.size() > kMaxExponent) {
    return bad_key("an RSA key of an unusual size");
  }
  const Owned<BIGNUM, BN_free> n(
      BN_bin2bn(modulus.data(), static_cast<int>(modulus.size()), nullptr));
  const Owned<BIGNUM, BN_free> e(
      BN_bin2bn(exponent.data(), static_cast<int>(exponent.size()), nullptr));
  if (n == nullptr || e == nullptr || BN_num_bits(n.get()) < kMinRsaBits ||
      BN_is_odd(n.get()) != 1 || BN_is_odd(e.get()) != 1 || BN_is_one(e.get()) == 1) {
    return bad_key("an RSA key needs an odd modulus of 2048 bits or more and an odd exponent");
  }
  const Owned<OSSL_PARAM_BLD, OSSL_PARAM_BLD_free> builder(OSSL_PARAM_BLD_new());
  OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, n.get());
  OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, e.get());
  auto native = std::make_shared<Native>(from_parameters("RSA", builder.get()));
  if (native->key == nullptr) return bad_key("not an RSA key");
  return JwsKey(JwsAlgorithm::rs256, std::move(native));
}

bool JwsKey::verify(ByteSpan message, ByteSpan signature) const {
  std::vector<std::uint8_t> der;
  if (algorithm_ == JwsAlgorithm::es256) {
    if (signature.size() != 2 * kCoordinate) return false;
    der = ecdsa_der(signature);
    if (der.empty()) return false;
    signature = der;
  }
  const EVP_MD* digest = algorithm_ == JwsAlgorithm::eddsa ? nullptr : EVP_sha256();
  const Owned<EVP_MD_CTX, EVP_MD_CTX_free> context(EVP_MD_CTX_new());
  return context != nullptr &&
         EVP_DigestVerifyInit(context.get(), nullptr, digest, nullptr, native_->key.get()) == 1 &&
         EVP_DigestVerify(context.get(), signature.data(), signature.size(), message.data(),
                          message.size()) == 1;
}

}  // namespace alga::crypto
