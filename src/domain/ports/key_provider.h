#pragma once

#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "crypto/locked_bytes.h"

namespace alga::domain {

/// A key encrypted by another key, with the name of that other key.
struct WrappedKey {
  std::string key_id;
  std::string bytes;
};

/// Holds the wrapping key that protects the data keys of all tenants: a local key file, or a Vault
/// transit key that never leaves Vault. `context` is authenticated. Thread-safe. Blocks. Errors:
/// `keys.unavailable`, `keys.unknown_key`, `keys.unwrap_failed`.
class KeyProvider {
 public:
  virtual ~KeyProvider() = default;
  [[nodiscard]] virtual Result<WrappedKey> wrap(ByteSpan key, const std::string& context) = 0;
  [[nodiscard]] virtual Result<crypto::LockedBytes> unwrap(const WrappedKey& wrapped,
                                                           const std::string& context) = 0;
  /// The key that wrap() uses now.
  [[nodiscard]] virtual Result<std::string> current_key_id() = 0;
  /// Makes a new wrapping key and uses it from now on; older ones still unwrap. Answers its id.
  virtual Result<std::string> rotate() = 0;
};

}  // namespace alga::domain
