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
  /// Writes `value` when the secret is still `expected` (none: when there is none), and answers
  /// whether it did. What can be written by several processes does so in one step; this default
  /// looks first and writes then.
  virtual Result<bool> replace_app_secret(std::string_view name,
                                          const std::optional<Secret>& expected,
                                          const Secret& value) {
    TRY(const std::optional<Secret> present, app_secret(name));
    if (!is_same(present, expected)) return false;
    TRY_VOID(set_app_secret(name, value.copy()));
    return true;
  }

 protected:
  [[nodiscard]] static bool is_same(const std::optional<Secret>& a,
                                    const std::optional<Secret>& b) {
    const auto text = [](const std::optional<Secret>& secret) {
      return secret ? secret->reveal() : std::string_view{};
    };
    return text(a) == text(b);
  }
};

}  // namespace alga::domain
