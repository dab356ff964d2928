#include "tls/testing_authority.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "base/result.h"

namespace alga::tls {
namespace {

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;

constexpr long kDay = 24L * 60 * 60;

Key make_key() { return {EVP_EC_gen("P-256"), &EVP_PKEY_free}; }

template <class Write>
std::string to_pem(Write write) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new(BIO_s_mem()), &BIO_free);
  ALGA_CHECK(write(bio.get()) == 1);
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return {data, static_cast<std::size_t>(size)};
}

std::string pem(X509* certificate) {
  return to_pem([&](BIO* bio) { return PEM_write_bio_X509(bio, certificate); });
}
std::string pem(EVP_PKEY* key) {
  return to_pem([&](BIO* bio) {
    return PEM_write_bio_PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr);
  });
}

void extend(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const std::unique_ptr<X509_EXTENSION, decltype(&X509_EXTENSION_free)> extension(
      X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()), &X509_EXTENSION_free);
  ALGA_CHECK(extension != nullptr);
  ALGA_CHECK(X509_add_ext(certificate, extension.get(), -1) == 1);
}

Certificate blank(EVP_PKEY* key, const std::string& common_name, long from, long until) {
  Certificate certificate(X509_new(), &X509_free);
  ALGA_CHECK(X509_set_version(certificate.get(), X509_VERSION_3) == 1);
  unsigned char serial[8];
  ALGA_CHECK(RAND_bytes(serial, sizeof serial) == 1);
  serial[0] &= 0x7F;
  std::uint64_t number = 1;
  for (const unsigned char byte : serial) number = (number << 8U) | byte;
  ALGA_CHECK(ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate.get()), number) == 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), from);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), until);
  X509_set_pubkey(certificate.get(), key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate.get()), "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(common_name.c_str()), -1, -1,
                             0);
  return certificate;
}

}  // namespace

struct TestingAuthority::State {
  Key key{nullptr, &EVP_PKEY_free};
  Certificate certificate{nullptr, &X509_free};
  std::string text;
};

TestingAuthority::TestingAuthority() : state_(std::make_unique<State>()) {
  state_->key = make_key();
  state_->certificate = blank(state_->key.get(), "Testing Authority", -kDay, kDay);
  X509* certificate = state_->certificate.get();
  X509_set_issuer_name(certificate, X509_get_subject_name(certificate));
  extend(certificate, certificate, NID_basic_constraints, "critical,CA:TRUE");
  extend(certificate, certificate, NID_key_usage, "critical,keyCertSign,cRLSign");
  extend(certificate, certificate, NID_subject_key_identifier, "hash");
  ALGA_CHECK(X509_sign(certificate, state_->key.get(), EVP_sha256()) > 0);
  state_->text = pem(certificate);
}

TestingAuthority::~TestingAuthority() = default;

const std::string& TestingAuthority::certificate() const { return state_->text; }

TestingIdentity TestingAuthority::issue(const std::vector<std::string>& alternative_names) {
  return issue(alternative_names, -kDay, kDay);
}

TestingIdentity TestingAuthority::issue_expired(const std::vector<std::string>& alternative_names) {
  return issue(alternative_names, -kDay, -kDay / 2);
}

TestingIdentity TestingAuthority::issue(const std::vector<std::string>& names, long from,
                                        long until) {
  const Key key = make_key();
  const Certificate certificate = blank(key.get(), "leaf", from, until);
  X509_set_issuer_name(certificate.get(), X509_get_subject_name(state_->certificate.get()));
  std::string joined;
  for (const std::string& name : names) joined += (joined.empty() ? "" : ",") + name;
  X509* issuer = state_->certificate.get();
  extend(certificate.get(), issuer, NID_basic_constraints, "critical,CA:FALSE");
  extend(certificate.get(), issuer, NID_ext_key_usage, "serverAuth,clientAuth");
  extend(certificate.get(), issuer, NID_authority_key_identifier, "keyid");
  if (!joined.empty()) extend(certificate.get(), issuer, NID_subject_alt_name, joined);
  ALGA_CHECK(X509_sign(certificate.get(), state_->key.get(), EVP_sha256()) > 0);
  return {.certificate = pem(certificate.get()), .private_key = pem(key.get())};
}

}  // namespace alga::tls
