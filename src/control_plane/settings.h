#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/secret.h"
#include "control_plane/changes.h"
#include "control_plane/core.h"
#include "control_plane/data_keys.h"
#include "control_plane/install_row.h"
#include "crypto/locked_bytes.h"
#include "domain/manifest.h"
#include "domain/secret_map.h"

namespace alga::control_plane {

/// Configuration of an install: readable, not secret.
struct ConfigState {
  std::map<std::string, std::string> config;
  std::string version;
  std::vector<std::string> warnings;  ///< keys whose value looks like a secret; never the value
};

/// Secrets of an install as an administrator sees them.
struct SecretNames {
  std::vector<std::string> names;
  std::string version;
};

/// What the manifest of an install's version says that it reads, by name. Nothing holds anybody to
/// it: it is for forms and for advice.
struct DeclaredSettings {
  std::map<std::string, domain::DeclaredSetting> config;
  std::map<std::string, domain::DeclaredSetting> secrets;
};

/// Configuration and secrets of installs. Secrets are encrypted with the tenant's data key before
/// they reach the database; when that fails, nothing changes. Thread-safe; blocks.
class Settings {
 public:
  Settings(const Core& core, DataKeys& keys, Changes& changes)
      : core_(core), keys_(keys), changes_(changes) {}

  [[nodiscard]] Result<ConfigState> config(const TenantId& tenant, const std::string& ref) const;
  /// Errors: `config.invalid_key`, `config.too_large`.
  Result<ConfigState> change_config(const Caller& caller, const TenantId& tenant,
                                    const std::string& ref,
                                    const std::map<std::string, std::string>& set,
                                    const std::vector<std::string>& unset);

  [[nodiscard]] Result<SecretNames> secret_names(const TenantId& tenant,
                                                 const std::string& ref) const;
  /// Errors: `secrets.invalid_name`, `secrets.too_large`, and those of the key provider.
  Result<SecretNames> set_secret(const Caller& caller, const TenantId& tenant,
                                 const std::string& ref, const std::string& name,
                                 const Secret& value);
  /// Error: `secrets.not_found`.
  Result<SecretNames> unset_secret(const Caller& caller, const TenantId& tenant,
                                   const std::string& ref, const std::string& name);

  /// Of the version that is installed. Error: `install.not_found`.
  [[nodiscard]] Result<DeclaredSettings> declared(const TenantId& tenant,
                                                  const std::string& ref) const;

  struct OpenSecrets {
    domain::SecretMap secrets;
    std::string version;
  };
  /// For the envelope; none when the install has no secrets.
  [[nodiscard]] Result<std::optional<OpenSecrets>> open(const TenantId& tenant,
                                                        const std::string& install);

 private:
  /// `value` null: unset.
  Result<SecretNames> change_secret(const Caller& caller, const TenantId& tenant,
                                    const std::string& ref, const std::string& name,
                                    const Secret* value);
  const Core& core_;
  DataKeys& keys_;
  Changes& changes_;
};

/// Errors: `config.invalid_key`, `config.too_large`.
Status check_config(const std::map<std::string, std::string>& config);
Status store_config(sql::Executor& sql, const Core& core, const InstallRow& install,
                    const std::map<std::string, std::string>& config);
[[nodiscard]] Result<ConfigState> load_config(sql::Executor& sql, const InstallRow& install);

}  // namespace alga::control_plane
