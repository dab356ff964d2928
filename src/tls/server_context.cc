#include "tls/server_context.h"

#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "crypto/digest.h"
#include "tls/pem_files.h"

namespace alga::tls {
namespace {

namespace ssl = boost::asio::ssl;

constexpr const char* kCiphersTls12 = "ECDHE+AESGCM:ECDHE+CHACHA20";

int choose_http11(SSL*, const unsigned char** out, unsigned char* out_length,
                  const unsigned char* offered, unsigned int offered_length, void*) {
  constexpr std::string_view wire = "\x08http/1.1";
  unsigned char* chosen = nullptr;
  const int found = SSL_select_next_proto(
      &chosen, out_length, reinterpret_cast<const unsigned char*>(wire.data()),
      static_cast<unsigned int>(wire.size()), offered, offered_length);
  *out = chosen;
  return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

std::shared_ptr<ssl::context> make_context(const ServerFiles& files) {
  auto context = std::make_shared<ssl::context>(ssl::context::tls_server);
  SSL_CTX* native = context->native_handle();
  SSL_CTX_set_min_proto_version(native, TLS1_2_VERSION);
  SSL_CTX_set_options(native, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                  SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_IGNORE_UNEXPECTED_EOF);
  // Idle keep-alive connections then cost a few KiB instead of some 40.
  SSL_CTX_set_mode(native, SSL_MODE_RELEASE_BUFFERS);
  ALGA_CHECK(SSL_CTX_set_cipher_list(native, kCiphersTls12) == 1);
  SSL_CTX_set_alpn_select_cb(native, choose_http11, nullptr);
  context->use_certificate_chain_file(files.certificate_chain);
  context->use_private_key_file(files.private_key, ssl::context::pem);
  if (!files.client_authorities.empty()) {
    context->load_verify_file(files.client_authorities);
    context->set_verify_mode(files.require_client_certificate
                                 ? ssl::verify_peer | ssl::verify_fail_if_no_peer_cert
                                 : ssl::verify_peer);
    // A resumed session would carry a verification made under other authorities.
    SSL_CTX_set_session_cache_mode(native, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(native, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(native, 0);
    if (STACK_OF(X509_NAME)* names = SSL_load_client_CA_file(files.client_authorities.c_str())) {
      SSL_CTX_set_client_CA_list(native, names);
    }
  }
  return context;
}

}  // namespace

Result<std::shared_ptr<ServerContext>> ServerContext::load(ServerFiles files) {
  if (files.require_client_certificate && files.client_authorities.empty()) {
    return fail(Kind::invalid, "tls.bad_files",
                "client certificates are required but no authorities are named");
  }
  std::shared_ptr<ServerContext> made(new ServerContext(std::move(files)));
  auto loaded = made->reload_if_changed();
  if (!loaded) return fail(std::move(loaded).error());
  return made;
}

std::shared_ptr<ssl::context> ServerContext::current() const {
  const std::scoped_lock lock(mutex_);
  return context_;
}

Result<bool> ServerContext::reload_if_changed() {
  Fingerprint now = fingerprint();
  {
    const std::scoped_lock lock(mutex_);
    if (context_ && now == loaded_) return false;
  }
  // Says which file is wrong; OpenSSL's own errors do not.
  TRY_VOID(check_identity(files_.certificate_chain, files_.private_key));
  if (!files_.client_authorities.empty()) TRY_VOID(check_authorities(files_.client_authorities));
  try {
    auto fresh = make_context(files_);
    const std::scoped_lock lock(mutex_);
    context_ = std::move(fresh);
    loaded_ = std::move(now);
    return true;
  } catch (const boost::system::system_error& error) {
    return fail(Kind::invalid, "tls.bad_files", error.what());
  }
}

ServerContext::Fingerprint ServerContext::fingerprint() const {
  Fingerprint result;
  for (const std::string* path :
       {&files_.certificate_chain, &files_.private_key, &files_.client_authorities}) {
    struct stat info{};
    if (path->empty() || ::stat(path->c_str(), &info) != 0) info = {};
    result.insert(result.end(), {static_cast<std::int64_t>(info.st_ino), info.st_size,
                                 info.st_mtim.tv_sec, info.st_mtim.tv_nsec});
  }
  return result;
}

std::optional<PeerCertificate> peer_certificate(SSL* connection) {
  const std::unique_ptr<X509, decltype(&X509_free)> certificate(
      SSL_get1_peer_certificate(connection), &X509_free);
  if (!certificate || SSL_get_verify_result(connection) != X509_V_OK) return std::nullopt;
  PeerCertificate result;

  unsigned char* der = nullptr;
  const int length = i2d_X509(certificate.get(), &der);
  if (length <= 0) return std::nullopt;
  result.sha256 = hex_encode(crypto::sha256({der, static_cast<std::size_t>(length)}));
  OPENSSL_free(der);

  auto* names = static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate.get(), NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; i < sk_GENERAL_NAME_num(names); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names, i);
    if (name->type != GEN_DNS && name->type != GEN_URI) continue;
    const ASN1_IA5STRING* text =
        name->type == GEN_DNS ? name->d.dNSName : name->d.uniformResourceIdentifier;
    std::string value(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                      static_cast<std::size_t>(ASN1_STRING_length(text)));
    // A NUL inside a name has fooled verifiers before.
    if (value.find('\0') == std::string::npos) result.names.push_back(std::move(value));
  }
  GENERAL_NAMES_free(names);
  return result;
}

}  // namespace alga::tls
