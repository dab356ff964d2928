#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/random.h"
#include "domain/ports/secret_provider.h"

namespace alga::vault {

/// Reads environment variables: `NAME` and `<prefix>_NAME` (the latter wins), for tenants
/// `TENANT_<id>_<name>`. Read-only.
class EnvironmentSecrets final : public domain::SecretProvider {
 public:
  /// `lookup` gives the value of a variable, or null; by default getenv(3). `prefix` may be empty.
  explicit EnvironmentSecrets(std::string prefix,
                              std::function<const char*(const char*)> lookup = {});

  [[nodiscard]] std::string_view name() const override { return "env"; }
  [[nodiscard]] Result<std::optional<Secret>> app_secret(std::string_view name) override;
  [[nodiscard]] Result<std::optional<Secret>> tenant_secret(const TenantId& tenant,
                                                            std::string_view name) override;
  Status set_app_secret(std::string_view name, std::optional<Secret> value) override;
  Status set_tenant_secret(const TenantId& tenant, std::string_view name,
                           std::optional<Secret> value) override;

 private:
  [[nodiscard]] std::optional<Secret> read(const std::string& variable) const;
  std::string prefix_;
  std::function<const char*(const char*)> lookup_;
};

/// Files `<base>/<name>` and `<base>/tenants/<tenant>/<name>`, as Docker and Kubernetes mount them.
/// One line break at the end of a file is not part of the secret. Files of at most 1 MiB. What it
/// writes has mode 0600 in directories of mode 0700 and appears whole or not at all. Those who
/// replace a secret take turns by a lock on `<base>/.lock`, in whichever process they are.
class FileSecrets final : public domain::SecretProvider {
 public:
  FileSecrets(std::filesystem::path base, Random& random);

  [[nodiscard]] std::string_view name() const override { return "filesystem"; }
  [[nodiscard]] Result<std::optional<Secret>> app_secret(std::string_view name) override;
  [[nodiscard]] Result<std::optional<Secret>> tenant_secret(const TenantId& tenant,
                                                            std::string_view name) override;
  Status set_app_secret(std::string_view name, std::optional<Secret> value) override;
  Status set_tenant_secret(const TenantId& tenant, std::string_view name,
                           std::optional<Secret> value) override;
  Result<bool> replace_app_secret(std::string_view name, const std::optional<Secret>& expected,
                                  const Secret& value) override;

 private:
  Status write(const std::filesystem::path& file, std::optional<Secret> value);
  std::filesystem::path base_;
  Random& random_;
};

/// Asks its readers in order; the first that has the secret wins. A reader that fails is logged and
/// skipped, but when no reader has the secret and one has failed, that failure is the answer: a
/// missing secret and a silent Vault are different things. Writes go to one provider only.
class SecretChain final : public domain::SecretProvider {
 public:
  using Provider = std::shared_ptr<domain::SecretProvider>;
  /// `writer` may be null (everything is then read-only) and may also be a reader.
  SecretChain(std::vector<Provider> readers, Provider writer, Logger log);

  [[nodiscard]] std::string_view name() const override { return "chain"; }
  [[nodiscard]] Result<std::optional<Secret>> app_secret(std::string_view name) override;
  [[nodiscard]] Result<std::optional<Secret>> tenant_secret(const TenantId& tenant,
                                                            std::string_view name) override;
  Status set_app_secret(std::string_view name, std::optional<Secret> value) override;
  Status set_tenant_secret(const TenantId& tenant, std::string_view name,
                           std::optional<Secret> value) override;
  Result<bool> replace_app_secret(std::string_view name, const std::optional<Secret>& expected,
                                  const Secret& value) override;

 private:
  using Read = std::function<Result<std::optional<Secret>>(domain::SecretProvider&)>;
  Result<std::optional<Secret>> first(const Read& read);
  std::vector<Provider> readers_;
  Provider writer_;
  Logger log_;
};

/// `SECRET_READ_CHAIN` (`env,filesystem,vault`) and `SECRET_WRITE_PROVIDER`, with the reference's
/// defaults: neither given means read `env,filesystem`, write `filesystem`; only the chain missing
/// means `env`; only the writer missing means `filesystem`.
struct ChainOrder {
  std::vector<std::string> readers;
  std::string writer;
};
/// Error: `vault.invalid_chain` for an unknown, repeated or empty name.
[[nodiscard]] Result<ChainOrder> parse_chain_order(const std::optional<std::string>& read_chain,
                                                   const std::optional<std::string>& writer);

}  // namespace alga::vault
