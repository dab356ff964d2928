#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "control_plane/core.h"
#include "crypto/sign.h"

namespace alga::control_plane {

/// What a signing key is for; keys of one purpose are never used for another.
/// `answer` signs nothing: the keys that seal kept answers are derived from its seed.
enum class KeyPurpose : std::uint8_t { grant, audit, broker, answer };

/// The Ed25519 keys of the control plane: made at first use, stored wrapped, shared by all control
/// planes of one database. A new key is published before it signs and verifies on after its
/// successor signs, so that nobody meets a signature that it cannot check. Thread-safe; blocks.
class SigningKeys {
 public:
  explicit SigningKeys(const Core& core) : core_(core) {}

  struct Signed {
    std::string kid;
    crypto::Signature signature;
  };

  /// Loads the keys of every purpose and makes those that are missing.
  Status load();
  /// Reads again what other processes may have changed.
  Status refresh();
  /// Called by refresh() and rotate() when there are other keys than before. Set before load().
  void on_change(std::function<void()> hook) { on_change_ = std::move(hook); }
  /// By the newest key whose time has come.
  [[nodiscard]] Signed sign(KeyPurpose purpose, ByteSpan message) const;
  /// The same key for callers that sign through another layer. Never null after load().
  [[nodiscard]] std::shared_ptr<const crypto::SigningKey> signer(KeyPurpose purpose) const;
  /// Public keys that verify now, newest first.
  [[nodiscard]] std::vector<GrantKey> verifiers(KeyPurpose purpose) const;
  /// Adds a key that signs after `overlap`; the older ones verify for `overlap` after that.
  Result<std::string> rotate(KeyPurpose purpose, std::chrono::milliseconds overlap);

 private:
  struct Entry {
    KeyPurpose purpose;
    std::string kid;
    std::shared_ptr<const crypto::SigningKey> key;
    WallTime signs_from;
    std::optional<WallTime> verifies_until;
  };
  [[nodiscard]] const Entry& newest(KeyPurpose purpose) const;
  /// Wrapping may ask Vault, so it is never done inside a transaction.
  Result<domain::WrappedKey> wrap(KeyPurpose purpose, const crypto::SigningKey& key) const;
  Status insert(sql::Executor& sql, KeyPurpose purpose, const crypto::SigningKey& key,
                const domain::WrappedKey& wrapped, WallTime signs_from) const;
  [[nodiscard]] std::shared_ptr<const crypto::SigningKey> known(const std::string& kid) const;
  Result<std::vector<Entry>> read() const;

  const Core& core_;
  std::function<void()> on_change_;
  mutable std::mutex mutex_;
  std::vector<Entry> entries_;  ///< by signs_from, newest first
};

/// The context under which a signing key is wrapped.
[[nodiscard]] std::string signing_key_context(std::string_view purpose, std::string_view kid);

}  // namespace alga::control_plane
