#pragma once

#include <boost/asio/ssl/context.hpp>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace alga::tls {

/// PEM files of a TLS server.
struct ServerFiles {
  std::string certificate_chain;   ///< leaf first
  std::string private_key;         ///< not encrypted
  std::string client_authorities;  ///< CAs that sign client certificates; empty: none is asked for
  bool require_client_certificate = false;
};

/// The TLS settings of a listener: TLS 1.2 or newer, forward secrecy and AEAD only, ALPN
/// `http/1.1`, no renegotiation; no session resumption where client certificates are verified.
/// Thread-safe.
class ServerContext {
 public:
  /// Errors: `tls.bad_files` (invalid) when a file cannot be read or does not fit the others.
  [[nodiscard]] static Result<std::shared_ptr<ServerContext>> load(ServerFiles files);

  /// For the next connection; connections made with an older one are not disturbed.
  [[nodiscard]] std::shared_ptr<boost::asio::ssl::context> current() const;

  /// Reads the files again when one has changed (inode, size or time). On an error the old context
  /// stays and the next call tries again. True when a new context is in place. Reads small files.
  [[nodiscard]] Result<bool> reload_if_changed();

 private:
  /// What stat(2) says about the files; differs when one was replaced or rewritten.
  using Fingerprint = std::vector<std::int64_t>;

  explicit ServerContext(ServerFiles files) : files_(std::move(files)) {}
  [[nodiscard]] Fingerprint fingerprint() const;

  const ServerFiles files_;
  mutable std::mutex mutex_;
  std::shared_ptr<boost::asio::ssl::context> context_;
  Fingerprint loaded_;
};

/// A verified certificate of the other side.
struct PeerCertificate {
  std::vector<std::string> names;  ///< DNS and URI subject alternative names
  std::string sha256;              ///< of the DER form, lower-case hex
};

/// None when the peer showed no certificate or it did not verify.
[[nodiscard]] std::optional<PeerCertificate> peer_certificate(SSL* connection);

}  // namespace alga::tls
