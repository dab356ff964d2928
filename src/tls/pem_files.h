#pragma once

#include <chrono>
#include <string>

#include "base/result.h"

namespace alga::tls {

/// From when until when a certificate holds; both ends belong to it.
struct Validity {
  std::chrono::sys_seconds from;
  std::chrono::sys_seconds until;
};

/// Reads a PEM certificate chain (leaf first) and the private key that goes with it; tells when the
/// leaf holds, and does not judge that. Reads two small files. Error: `tls.bad_files` (invalid),
/// which names the file and what is wrong with it: not there, not readable, no PEM, an encrypted
/// key, a key of another certificate.
[[nodiscard]] Result<Validity> check_identity(const std::string& certificate_chain,
                                              const std::string& private_key);

/// Reads a PEM file of authorities; it must hold at least one certificate. Error: `tls.bad_files`.
[[nodiscard]] Status check_authorities(const std::string& file);

}  // namespace alga::tls
