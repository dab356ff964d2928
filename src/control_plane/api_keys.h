#pragma once

#include <boost/json/object.hpp>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "control_plane/core.h"

namespace alga::control_plane {

struct NewApiKey {
  std::string label;
  domain::Role role = domain::Role::tenant_user;
  std::optional<std::string> tenant;
  std::optional<std::string> publisher;  ///< by name
  std::optional<WallTime> expires_at;
};

/// API keys `alga_<id>_<secret>` and the bootstrap token `alga_boot_<secret>`. The database holds a
/// hash only; the token is shown once. Thread-safe; blocks.
class ApiKeys {
 public:
  /// By its shape. What begins with `alga_sess_` is a host application's session token.
  [[nodiscard]] static bool is_key(std::string_view token) {
    return token.starts_with("alga_") && !token.starts_with("alga_sess_");
  }

  explicit ApiKeys(const Core& core) : core_(core) {}

  /// On a database that has never had a key, makes the bootstrap token: an operator until it is
  /// revoked. Of several servers that start together one answers it.
  Result<std::optional<Secret>> bootstrap();

  struct Created {
    std::string id;
    Secret token;
  };
  /// Errors: `request.invalid` (a tenant or publisher that does not fit the role),
  /// `tenant.not_found`, `publisher.not_found`, `auth.forbidden`: a tenant's administrator makes
  /// keys for the tenant only.
  Result<Created> create(const Caller& caller, const NewApiKey& request);
  /// Newest first, without secrets; a tenant's administrator sees the tenant's.
  [[nodiscard]] Result<std::vector<boost::json::object>> list(const Caller& caller) const;
  /// Effective at once in this process and within a second in others. Error: `api_key.not_found`.
  Status revoke(const Caller& caller, const std::string& id);

  /// Error: `auth.invalid_token`, always the same.
  [[nodiscard]] Result<domain::Principal> authenticate(std::string_view token) const;

 private:
  struct Cached {
    domain::Principal principal;
    SteadyTime fresh_until;
    std::optional<WallTime> expires_at;
  };
  Result<Cached> look_up(std::string_view token) const;

  const Core& core_;
  mutable std::mutex mutex_;
  mutable std::map<std::string, Cached> cache_;  ///< by hash of the token
  mutable std::uint64_t epoch_ = 0;              ///< changes with every revocation
};

}  // namespace alga::control_plane
