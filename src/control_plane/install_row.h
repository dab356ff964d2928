#pragma once

#include <boost/json/object.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "control_plane/core.h"
#include "control_plane/registry.h"
#include "domain/capability.h"

namespace alga::control_plane {

/// What an administrator gave an install instead of the server's values; none: the server's. The
/// runner's maxima hold whatever stands here.
struct InstallLimits {
  std::optional<std::uint64_t> timeout_ms, memory_mb, cpu_ms;
};

/// An install as it stands in the database.
struct InstallRow {
  std::string tenant;
  std::string id;
  PublishedVersion version;
  std::string content_hash;
  bool enabled = false;
  std::string status;
  InstallLimits limits;
  std::uint64_t generation = 0;
  WallTime created, updated;
  domain::CapabilitySet granted;   ///< by an administrator
  domain::CapabilitySet withheld;  ///< defaults that an administrator took away
  std::vector<std::string> egress;
  std::string config_version, secrets_version;  ///< empty: never set

  /// What the guest gets: asked for and granted, and the defaults that are not withheld.
  [[nodiscard]] domain::CapabilitySet effective() const;
  [[nodiscard]] bool active() const { return enabled && status == "enabled"; }
};

/// By install id, registry id or slug, always within the tenant. Error: `install.not_found`, the
/// same for an install of somebody else and for one that never was.
[[nodiscard]] Result<InstallRow> find_install(sql::Executor& sql, const TenantId& tenant,
                                              const std::string& ref);
[[nodiscard]] Result<std::vector<InstallRow>> list_installs(sql::Executor& sql,
                                                            const TenantId& tenant);
/// Marks the install as changed; to be called by every transaction that changes it.
Status touch_install(sql::Executor& sql, const Core& core, const InstallRow& install);

[[nodiscard]] boost::json::object to_json(const InstallRow& install);
/// Those that are set.
[[nodiscard]] boost::json::object to_json(const InstallLimits& limits);
[[nodiscard]] boost::json::array names_of(const domain::CapabilitySet& capabilities);
[[nodiscard]] boost::json::array array_of(const std::vector<std::string>& strings);

}  // namespace alga::control_plane
