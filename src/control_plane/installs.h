#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "control_plane/changes.h"
#include "control_plane/core.h"
#include "control_plane/install_row.h"

namespace alga::control_plane {

struct NewInstall {
  std::string extension;  ///< registry id or slug
  std::string version;    ///< empty: the newest release
  std::vector<std::string> capabilities;
  std::vector<std::string> egress;
  std::map<std::string, std::string> config;
  InstallLimits limits;
};

/// What an administrator should see before somebody is surprised.
struct CapabilityDifference {
  domain::CapabilitySet requested, granted, withheld;
};
struct EgressDifference {
  std::vector<std::string> requested, granted, missing;
};

/// None leaves a limit as it is; a value of none takes it back, so that the server's holds again.
using LimitChange = std::optional<std::optional<std::uint64_t>>;
struct LimitChanges {
  LimitChange timeout_ms, memory_mb, cpu_ms;
  [[nodiscard]] InstallLimits applied_to(const InstallLimits& before) const;
};

/// Replaces what is given, leaves the rest.
struct GrantChange {
  std::optional<std::vector<std::string>> capabilities;
  std::optional<std::vector<std::string>> withhold;  ///< defaults to take away
  std::optional<std::vector<std::string>> egress;
  LimitChanges limits;
};

/// The installs of a tenant. Every call acts inside `tenant` only; foreign ids are
/// `install.not_found`. A change is visible to this process when the call returns. Thread-safe;
/// blocks.
class Installs {
 public:
  Installs(const Core& core, Changes& changes) : core_(core), changes_(changes) {}

  struct Outcome {
    InstallRow install;
    CapabilityDifference capabilities;
    EgressDifference egress;
    std::vector<std::string> warnings;
  };

  /// Errors: `extension.not_found`, `extension.version_not_found`, `extension.untrusted`,
  /// `install.exists`, `tenant.not_found`, `capability.unknown`, `egress.invalid_rule`,
  /// `egress.operator_required`.
  Result<Outcome> create(const Caller& caller, const TenantId& tenant, const NewInstall& request);
  /// Wider demands of the new version stay off until they are granted.
  Result<Outcome> update(const Caller& caller, const TenantId& tenant, const std::string& ref,
                         const std::string& version);
  Result<InstallRow> set_enabled(const Caller& caller, const TenantId& tenant,
                                 const std::string& ref, bool enabled);
  Result<InstallRow> change_grants(const Caller& caller, const TenantId& tenant,
                                   const std::string& ref, const GrantChange& change);
  /// Takes configuration, secrets, grants and stored records along; logs stay.
  Status remove(const Caller& caller, const TenantId& tenant, const std::string& ref);

  [[nodiscard]] Result<InstallRow> get(const TenantId& tenant, const std::string& ref) const;
  [[nodiscard]] Result<std::vector<InstallRow>> list(const TenantId& tenant) const;

 private:
  const Core& core_;
  Changes& changes_;
};

}  // namespace alga::control_plane
