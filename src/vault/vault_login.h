#pragma once

#include <ctime>
#include <filesystem>
#include <functional>
#include <string>

#include "domain/ports/secret_provider.h"
#include "vault/vault_client.h"

namespace alga::vault {

/// A token that was given with the configuration (`VAULT_TOKEN`); never renewed.
class StaticToken final : public VaultLogin {
 public:
  explicit StaticToken(Secret token) : token_(std::move(token)) {}
  Result<VaultToken> login(VaultClient& client) override;

 private:
  Secret token_;
};

/// A token in a mounted file (`ALGA_VAULT_TOKEN_FILE`) that an agent keeps fresh; read again when
/// the file changes. Error: `vault.no_token` when it is missing, empty or larger than 16 KiB.
class TokenFile final : public VaultLogin {
 public:
  explicit TokenFile(std::filesystem::path file) : file_(std::move(file)) {}
  Result<VaultToken> login(VaultClient& client) override;
  [[nodiscard]] bool changed() override;

 private:
  /// What tells one content from the next without reading it.
  struct Stamp {
    std::uint64_t inode = 0;
    std::int64_t size = -1;
    std::int64_t seconds = 0;
    std::int64_t nanoseconds = 0;
    bool operator==(const Stamp&) const = default;
  };
  [[nodiscard]] Stamp stamp() const;
  std::filesystem::path file_;
  Stamp read_;
};

/// Gives a credential each time it is asked, so that a mounted one may be replaced. Error:
/// `vault.no_token`.
using Credential = std::function<Result<Secret>()>;
/// Reads a file of at most 16 KiB; blanks around the credential are not part of it.
[[nodiscard]] Credential credential_file(std::filesystem::path file);

/// AppRole: a role id and a secret id, asked for at each login.
class AppRoleLogin final : public VaultLogin {
 public:
  /// `mount` is where the method is enabled, usually `approle`.
  AppRoleLogin(std::string role_id, Credential secret_id, std::string mount = "approle");
  Result<VaultToken> login(VaultClient& client) override;

 private:
  std::string role_id_;
  Credential secret_id_;
  std::string mount_;
};

/// Kubernetes: a role and the service account's token, read at each login.
class KubernetesLogin final : public VaultLogin {
 public:
  explicit KubernetesLogin(
      std::string role, std::string mount = "kubernetes",
      std::filesystem::path token_file = "/var/run/secrets/kubernetes.io/serviceaccount/token");
  Result<VaultToken> login(VaultClient& client) override;

 private:
  std::string role_;
  std::string mount_;
  std::filesystem::path token_file_;
};

}  // namespace alga::vault
