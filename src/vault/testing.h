#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "domain/ports/secret_provider.h"

/// Test doubles of this layer, for every layer above.
namespace alga::vault::testing {

/// Secrets in memory; `fail_with` breaks it.
class MemorySecrets final : public domain::SecretProvider {
 public:
  explicit MemorySecrets(std::string name = "memory") : name_(std::move(name)) {}
  std::string_view name() const override { return name_; }
  Result<std::optional<Secret>> app_secret(std::string_view name) override {
    return read(std::string(name));
  }
  Result<std::optional<Secret>> tenant_secret(const TenantId& tenant,
                                              std::string_view name) override {
    return read(tenant.str() + '/' + std::string(name));
  }
  Status set_app_secret(std::string_view name, std::optional<Secret> value) override {
    return write(std::string(name), value);
  }
  Status set_tenant_secret(const TenantId& tenant, std::string_view name,
                           std::optional<Secret> value) override {
    return write(tenant.str() + '/' + std::string(name), value);
  }
  Result<bool> replace_app_secret(std::string_view name, const std::optional<Secret>& expected,
                                  const Secret& value) override {
    const std::scoped_lock lock(mutex_);
    if (error_) return alga::fail(*error_);
    const auto found = values_.find(std::string(name));
    std::optional<Secret> present;
    if (found != values_.end()) present = Secret(found->second);
    if (!is_same(present, expected)) return false;
    values_.insert_or_assign(std::string(name), std::string(value.reveal()));
    return true;
  }
  void fail_with(std::optional<Error> error) { error_ = std::move(error); }

 private:
  Result<std::optional<Secret>> read(const std::string& key) {
    const std::scoped_lock lock(mutex_);
    if (error_) return alga::fail(*error_);
    const auto found = values_.find(key);
    if (found == values_.end()) return std::nullopt;
    return Secret(found->second);
  }
  Status write(const std::string& key, const std::optional<Secret>& value) {
    const std::scoped_lock lock(mutex_);
    if (error_) return alga::fail(*error_);
    values_.erase(key);
    if (value) values_.emplace(key, value->reveal());
    return {};
  }
  std::string name_;
  std::mutex mutex_;
  std::map<std::string, std::string> values_;
  std::optional<Error> error_;
};

}  // namespace alga::vault::testing
