#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "crypto/locked_bytes.h"
#include "domain/ports/key_provider.h"
#include "domain/ports/secret_provider.h"
#include "vault/vault_client.h"

namespace alga::vault {

/// Vault's transit engine: encryption under keys that never leave Vault. Thread-safe; blocks.
/// Errors as VaultClient. `key` is one path segment.
class VaultTransit {
 public:
  /// `client` outlives the object.
  explicit VaultTransit(VaultClient& client) : client_(client) {}

  /// `vault:v<n>:…`. A `context` is authenticated (Vault's `associated_data`); empty sends none.
  Result<std::string> encrypt(std::string_view mount, std::string_view key, ByteSpan plaintext,
                              std::string_view context);
  /// `vault.bad_request` for altered ciphertext or another context.
  Result<crypto::LockedBytes> decrypt(std::string_view mount, std::string_view key,
                                      std::string_view ciphertext, std::string_view context);
  /// Newest version of the key.
  Result<std::uint64_t> latest_version(std::string_view mount, std::string_view key);
  Status rotate(std::string_view mount, std::string_view key);

 private:
  VaultClient& client_;
};

/// Vault's versioned key-value engine (KV v2) as a provider of secrets: one entry holds all secrets
/// of the application, one those of each tenant. Writes use check-and-set, so that two writers
/// never lose each other's change. Reads of one entry within a second share one answer.
class VaultSecrets final : public domain::SecretProvider {
 public:
  struct Options {
    std::string app_path = "kv/data/app/secrets";  ///< `VAULT_APP_SECRET_PATH`
    /// `VAULT_TENANT_SECRET_PATH_TEMPLATE`
    std::string tenant_path = "kv/data/tenants/{tenantId}/secrets";
  };
  /// Error: `vault.invalid_name` for paths that are none. `client` and `clock` outlive the object.
  [[nodiscard]] static Result<std::unique_ptr<VaultSecrets>> make(Options options,
                                                                  VaultClient& client,
                                                                  const Clock& clock);

  /// `<mount>/data/<path>`, and the same with one `{tenantId}`.
  [[nodiscard]] static bool is_app_path(std::string_view text);
  [[nodiscard]] static bool is_tenant_path(std::string_view text);

  [[nodiscard]] std::string_view name() const override { return "vault"; }
  [[nodiscard]] Result<std::optional<Secret>> app_secret(std::string_view name) override;
  [[nodiscard]] Result<std::optional<Secret>> tenant_secret(const TenantId& tenant,
                                                            std::string_view name) override;
  Status set_app_secret(std::string_view name, std::optional<Secret> value) override;
  Status set_tenant_secret(const TenantId& tenant, std::string_view name,
                           std::optional<Secret> value) override;
  Result<bool> replace_app_secret(std::string_view name, const std::optional<Secret>& expected,
                                  const Secret& value) override;

 private:
  /// The secrets of one path and the version they have; version 0 does not exist yet.
  struct Entry {
    std::map<std::string, Secret, std::less<>> secrets;
    std::uint64_t version = 0;
  };
  struct Cached {
    std::mutex reading;  ///< held while one reader asks Vault
    std::optional<Entry> entry;
    SteadyTime since{};
  };
  VaultSecrets(Options options, VaultClient& client, const Clock& clock);
  [[nodiscard]] std::string tenant_path(const TenantId& tenant) const;
  Result<Entry> fetch(const std::string& path);
  Result<std::optional<Secret>> read(const std::string& path, std::string_view name);
  /// When `expected` is given, only over it; answers whether it was written.
  Result<bool> write(const std::string& path, std::string_view name,
                     const std::optional<Secret>& value,
                     const std::optional<Secret>* expected = nullptr);
  std::shared_ptr<Cached> slot(const std::string& path);

  Options options_;
  VaultClient& client_;
  const Clock& clock_;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Cached>> cache_;
};

/// Wraps data keys with a transit key; `key_id` is `<key>.v<n>`.
class VaultKeyProvider final : public domain::KeyProvider {
 public:
  /// `transit` outlives the provider. The key must exist and support associated data
  /// (`aes256-gcm96`, the default type).
  VaultKeyProvider(VaultTransit& transit, std::string mount, std::string key)
      : transit_(transit), mount_(std::move(mount)), key_(std::move(key)) {}

  [[nodiscard]] Result<domain::WrappedKey> wrap(ByteSpan key, const std::string& context) override;
  [[nodiscard]] Result<crypto::LockedBytes> unwrap(const domain::WrappedKey& wrapped,
                                                   const std::string& context) override;
  [[nodiscard]] Result<std::string> current_key_id() override;
  Result<std::string> rotate() override;

 private:
  VaultTransit& transit_;
  std::string mount_, key_;
};

}  // namespace alga::vault
