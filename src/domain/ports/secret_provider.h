#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "base/result.h"
#include "base/secret.h"

namespace alga::domain {

/// Where secrets of the application (the key of `sealed:v1`, tokens of internal callers) and of
/// tenants come from: environment, files, Vault, or a chain of them. Names are identifiers. An
/// empty value counts as absent, everywhere. Thread-safe. Calls may block. Errors:
/// `vault.invalid_name`, `vault.read_only`, and what the source adds (`vault.unavailable`,
/// `vault.denied`, …).
class SecretProvider {
 public:
  virtual ~SecretProvider() = default;
  /// `env`, `filesystem`, `vault` or `chain`.
  [[nodiscard]] virtual std::string_view name() const = 0;
  [[nodiscard]] virtual Result<std::optional<Secret>> app_secret(std::string_view name) = 0;
  [[nodiscard]] virtual Result<std::optional<Secret>> tenant_secret(const TenantId& tenant,
                                                                    std::string_view name) = 0;
  /// No value removes the secret; removing what is not there is fine.
  virtual Status set_app_secret(std::string_view name, std::optional<Secret> value) = 0;
  virtual Status set_tenant_secret(const TenantId& tenant, std::string_view name,
                                   std::optional<Secret> value) = 0;
};

}  // namespace alga::domain
