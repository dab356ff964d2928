#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "base/result.h"
#include "crypto/sign.h"
#include "domain/capability.h"
#include "domain/egress_policy.h"
#include "domain/execute.h"

namespace alga::domain {

/// What one install may do, for a minute at most: docs/contracts/grant.md.
struct Grant {
  WallTime issued;   ///< whole seconds
  WallTime expires;  ///< whole seconds
  TenantId tenant;
  InstallId install;
  ExtensionId extension;
  VersionId version;
  ContentHash content_hash;
  CapabilitySet capabilities;
  std::vector<std::string> egress;  ///< rules as EgressPolicy::parse() takes them
  RequestedLimits limits;           ///< of the install; absent means the server's default
  std::string config_version;
  std::string secrets_version;
  /// envelope_pin() of the envelope that goes with it; absent when the install has no secrets.
  std::optional<std::string> envelope_sha256;
  std::optional<std::string> envelope_expires;
  /// config_digest() of the configuration that goes with it; not compared when absent.
  std::optional<std::string> config_sha256;
};

inline constexpr std::chrono::seconds longest_grant_life{60};
inline constexpr std::chrono::seconds grant_clock_skew{5};
/// A token travels in a header.
inline constexpr std::size_t longest_grant_token = std::size_t{16} << 10U;

/// `base64url(payload) "." base64url(Ed25519 over "alga-grant:v1." + first part)`. The key id is
/// `key.public_key().id()`. Errors: `grant.too_large` when capabilities and egress rules do not fit
/// into a header, `grant.bad_life` when it would live longer than a minute or not at all.
[[nodiscard]] Result<std::string> sign_grant(const Grant& grant, const crypto::SigningKey& key);

/// SHA-256 (hex) of a configuration.
[[nodiscard]] std::string config_digest(const std::map<std::string, std::string>& config);

/// A grant whose signature, life and shape have been checked, with its rules parsed once.
struct VerifiedGrant {
  Grant grant;
  std::string key_id;
  std::shared_ptr<const EgressPolicy> egress;
};

/// Checks tokens against a ring of public keys. A verified token is remembered by its SHA-256 until
/// it expires, so that a busy install costs one signature check a minute. Bounded; any thread.
class GrantVerifier {
 public:
  /// `clock` must outlive the verifier. `cache_entries` bounds what is remembered.
  explicit GrantVerifier(const Clock& clock, std::size_t cache_entries = 10'000);

  /// Replaces the ring: old and new keys during a rotation, found by PublicKey::id(). Tokens of
  /// keys that are gone are forgotten at once.
  void set_keys(const std::vector<crypto::PublicKey>& keys);

  /// Errors (Kind::unauthenticated): `grant.malformed`, `grant.unknown_key`, `grant.bad_signature`,
  /// `grant.bad_life`, `grant.not_yet_valid`, `grant.expired`.
  [[nodiscard]] Result<std::shared_ptr<const VerifiedGrant>> verify(std::string_view token);

  /// The key with that id, when the ring has it: for what else the same keys sign.
  [[nodiscard]] std::optional<crypto::PublicKey> trusted_key(std::string_view key_id) const;

  [[nodiscard]] std::size_t remembered() const;

 private:
  using KeyRing = std::map<std::string, crypto::PublicKey, std::less<>>;
  [[nodiscard]] Result<std::shared_ptr<const VerifiedGrant>> check(std::string_view token) const;
  [[nodiscard]] Status check_time(const Grant& grant) const;
  void remember(std::string digest, std::shared_ptr<const VerifiedGrant> grant);

  const Clock& clock_;
  const std::size_t cache_entries_;
  mutable std::mutex mutex_;
  std::shared_ptr<const KeyRing> keys_;
  std::unordered_map<std::string, std::shared_ptr<const VerifiedGrant>> cache_;
  std::deque<std::string> order_;  ///< of insertion, which is nearly that of expiry
};

/// Holds a request to its grant. What the request leaves out is taken from the grant; what it names
/// must agree. Errors (Kind::denied): `grant.tenant_mismatch`, `grant.install_mismatch`,
/// `grant.extension_mismatch`, `grant.version_mismatch`, `grant.hash_mismatch`,
/// `grant.config_mismatch`, `grant.envelope_mismatch` (also when the envelope was left out).
[[nodiscard]] Status check_request(const Grant& grant, const ExecuteRequest& request);

}  // namespace alga::domain
