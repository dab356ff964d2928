#include "tls/pem_files.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <cerrno>
#include <cstdio>
#include <ctime>
#include <memory>
#include <system_error>
#include <utility>

namespace alga::tls {
namespace {

using File = std::unique_ptr<std::FILE, decltype(&std::fclose)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;
using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

std::unexpected<Error> bad_file(const std::string& path, const std::string& why) {
  ERR_clear_error();  // what OpenSSL noted belongs to this file, not to the next connection
  return fail(Kind::invalid, "tls.bad_files", path + ": " + why);
}

Result<File> open(const std::string& path) {
  File file(std::fopen(path.c_str(), "rbe"), &std::fclose);
  if (!file) return bad_file(path, std::generic_category().message(errno));
  return file;
}

/// Instead of OpenSSL's own, which would ask at the terminal.
int refuse_to_ask(char*, int, int, void* asked) {
  *static_cast<bool*>(asked) = true;
  return -1;
}

std::chrono::sys_seconds moment(const ASN1_TIME* time) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return {};
  return std::chrono::sys_seconds{std::chrono::seconds{::timegm(&parts)}};
}

Result<Certificate> first_certificate(const std::string& path) {
  TRY(const File file, open(path));
  Certificate certificate(PEM_read_X509_AUX(file.get(), nullptr, nullptr, nullptr), &X509_free);
  if (!certificate) return bad_file(path, "there is no PEM certificate in it");
  return certificate;
}

}  // namespace

Result<Validity> check_identity(const std::string& certificate_chain,
                                const std::string& private_key) {
  TRY(const Certificate leaf, first_certificate(certificate_chain));
  TRY(const File file, open(private_key));
  bool encrypted = false;
  const Key key(PEM_read_PrivateKey(file.get(), nullptr, &refuse_to_ask, &encrypted),
                &EVP_PKEY_free);
  if (encrypted) return bad_file(private_key, "the key is encrypted; algad has nobody to ask");
  if (!key) return bad_file(private_key, "there is no PEM private key in it");
  if (X509_check_private_key(leaf.get(), key.get()) != 1) {
    return bad_file(private_key, "the key does not belong to the certificate " + certificate_chain);
  }
  return Validity{moment(X509_get0_notBefore(leaf.get())), moment(X509_get0_notAfter(leaf.get()))};
}

Status check_authorities(const std::string& file) {
  TRY_VOID(first_certificate(file));
  return {};
}

}  // namespace alga::tls
