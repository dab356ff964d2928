#include "control_plane/settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/bytes.h"
#include "control_plane/audit.h"
#include "crypto/aead.h"

namespace alga::control_plane {
namespace {

constexpr std::size_t kConfigKeys = 1'000;
constexpr std::size_t kConfigKeyBytes = 256;
constexpr std::size_t kConfigBytes = 256U << 10U;
constexpr std::size_t kSecretBytes = 64U << 10U;
constexpr std::size_t kAllSecretsBytes = 512U << 10U;
constexpr std::string_view kAlgorithm = "xchacha20-poly1305:v1";

/// What the ciphertext is bound to: it opens for this install at this version only.
std::string secrets_context(std::string_view tenant, std::string_view install,
                            std::string_view version) {
  return fmt::format("alga-secrets:v1\n{}\n{}\n{}", tenant, install, version);
}

bool looks_secret(std::string_view key) {
  constexpr std::array<std::string_view, 6> kWords{"secret",  "password", "token",
                                                   "api_key", "apikey",   "private_key"};
  std::string lower = to_lower(key);
  return std::ranges::any_of(kWords, [&](std::string_view word) { return lower.contains(word); });
}

std::vector<std::string> warnings_for(const std::map<std::string, std::string>& config) {
  std::vector<std::string> warnings;
  for (const auto& [key, value] : config) {
    if (looks_secret(key) && !value.empty()) {
      warnings.push_back(
          fmt::format("{} looks like a secret: configuration can be read back", key));
    }
  }
  return warnings;
}

struct StoredSecrets {
  std::string ciphertext;
  std::uint32_t key_version = 0;
  std::string version;
};

Result<std::optional<StoredSecrets>> load_secrets(sql::Executor& sql, std::string_view tenant,
                                                  std::string_view install) {
  TRY(auto row, sql.find("SELECT ciphertext, key_version, version FROM "
                         "tenant_extension_install_secrets WHERE tenant = $1 AND install_id = $2",
                         {tenant, install}));
  if (!row) return std::optional<StoredSecrets>{};
  auto [ciphertext, key_version, version] = row->as<sql::Blob, std::uint32_t, std::string>();
  return std::optional{StoredSecrets{ciphertext.bytes, key_version, version}};
}

Result<domain::SecretMap> decrypt(const crypto::AeadKey& key, const StoredSecrets& stored,
                                  std::string_view tenant, std::string_view install) {
  auto json = crypto::open(key, as_bytes(stored.ciphertext),
                           as_bytes(secrets_context(tenant, install, stored.version)));
  if (!json) {
    return fail(Kind::internal, "secrets.corrupt", "the stored secrets do not open");
  }
  return domain::SecretMap::from_json(*json);
}

/// `current` with one name set or taken away.
Result<domain::SecretMap> changed_map(const domain::SecretMap& current, const std::string& name,
                                      const Secret* value) {
  std::vector<std::pair<std::string_view, std::string_view>> pairs;
  std::size_t bytes = 0;
  for (std::string_view other : current.names()) {
    if (other == name) continue;
    auto text = current.reveal(other);
    ALGA_CHECK(text.has_value());
    pairs.emplace_back(other, *text);
    bytes += other.size() + text->size();
  }
  if (value != nullptr) {
    pairs.emplace_back(name, value->reveal());
    bytes += name.size() + value->reveal().size();
  }
  if (bytes > kAllSecretsBytes) {
    return fail(Kind::too_large, "secrets.too_large", "an install has at most 512 KiB of secrets");
  }
  return domain::SecretMap::from_pairs(pairs);
}

Status store_secrets(sql::Executor& sql, const Core& core, const InstallRow& install,
                     const domain::SecretMap& secrets, const DataKeys::Key& key,
                     const std::string& version) {
  boost::json::array names;
  for (std::string_view name : secrets.names()) names.emplace_back(name);
  crypto::LockedBytes json = secrets.to_json();
  std::string sealed = crypto::seal(*key.key, json.reveal(),
                                    as_bytes(secrets_context(install.tenant, install.id, version)));
  TRY_VOID(sql.execute(
      "INSERT INTO tenant_extension_install_secrets (tenant, install_id, names, ciphertext, "
      "algorithm, key_version, version, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON "
      "CONFLICT (tenant, install_id) DO UPDATE SET names = excluded.names, ciphertext = "
      "excluded.ciphertext, algorithm = excluded.algorithm, key_version = excluded.key_version, "
      "version = excluded.version, updated_at = excluded.updated_at",
      {install.tenant, install.id, to_text(names), sql::Blob{sealed}, kAlgorithm, key.version,
       version, core.now()}));
  return {};
}

}  // namespace

Status check_config(const std::map<std::string, std::string>& config) {
  std::size_t bytes = 0;
  for (const auto& [key, value] : config) {
    bool control = std::ranges::any_of(key, [](unsigned char c) { return c < 0x20 || c == 0x7F; });
    // Names that would reach into a JavaScript object instead of naming a member of it.
    bool magic = key == "__proto__" || key == "constructor" || key == "prototype";
    if (key.empty() || key.size() > kConfigKeyBytes || control || magic) {
      return fail(Kind::invalid, "config.invalid_key",
                  "a configuration key has 1 to 256 bytes without control characters");
    }
    if (value.contains('\0')) {
      return fail(Kind::invalid, "config.invalid_key", "a configuration value contains NUL");
    }
    bytes += key.size() + value.size();
  }
  if (config.size() > kConfigKeys || bytes > kConfigBytes) {
    return fail(Kind::too_large, "config.too_large",
                "an install has at most 1,000 configuration keys and 256 KiB");
  }
  return {};
}

Status store_config(sql::Executor& sql, const Core& core, const InstallRow& install,
                    const std::map<std::string, std::string>& config) {
  boost::json::object json;
  for (const auto& [key, value] : config) json[key] = value;
  TRY_VOID(
      sql.execute("INSERT INTO tenant_extension_install_config (tenant, install_id, config, "
                  "version, updated_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (tenant, "
                  "install_id) DO UPDATE SET config = excluded.config, version = "
                  "excluded.version, updated_at = excluded.updated_at",
                  {install.tenant, install.id, to_text(json), core.new_id(), core.now()}));
  return {};
}

Result<ConfigState> load_config(sql::Executor& sql, const InstallRow& install) {
  TRY(auto row,
      sql.find("SELECT config, version FROM tenant_extension_install_config WHERE tenant = "
               "$1 AND install_id = $2",
               {install.tenant, install.id}));
  if (!row) return ConfigState{};
  auto [json, version] = row->as<std::string, std::string>();
  ConfigState state{.version = version};
  TRY(const boost::json::object pairs, object_from_column(json, "config"));
  for (const auto& [key, value] : pairs) {
    if (!value.is_string()) return malformed_column("config");
    state.config.emplace(std::string(key), std::string(value.get_string()));
  }
  return state;
}

Result<ConfigState> Settings::config(const TenantId& tenant, const std::string& ref) const {
  return core_.db().read([&](sql::Executor& sql) -> Result<ConfigState> {
    TRY(InstallRow install, find_install(sql, tenant, ref));
    return load_config(sql, install);
  });
}

Result<ConfigState> Settings::change_config(const Caller& caller, const TenantId& tenant,
                                            const std::string& ref,
                                            const std::map<std::string, std::string>& set,
                                            const std::vector<std::string>& unset) {
  TRY(ConfigState state, core_.db().write([&](sql::Executor& sql) -> Result<ConfigState> {
    TRY(InstallRow install, find_install(sql, tenant, ref));
    TRY(ConfigState current, load_config(sql, install));
    for (const std::string& key : unset) current.config.erase(key);
    for (const auto& [key, value] : set) current.config.insert_or_assign(key, value);
    TRY_VOID(check_config(current.config));
    TRY_VOID(store_config(sql, core_, install, current.config));
    TRY_VOID(touch_install(sql, core_, install));
    boost::json::array keys;
    for (const auto& [key, value] : set) keys.emplace_back(key);
    TRY_VOID(append_audit(sql, core_, caller,
                          {.tenant = install.tenant,
                           .action = "config.changed",
                           .target = install.id,
                           .details = {{"set", keys}, {"unset", array_of(unset)}}}));
    return load_config(sql, install);
  }));
  changes_.announce();
  state.warnings = warnings_for(set);
  return state;
}

Result<SecretNames> Settings::secret_names(const TenantId& tenant, const std::string& ref) const {
  return core_.db().read([&](sql::Executor& sql) -> Result<SecretNames> {
    TRY(InstallRow install, find_install(sql, tenant, ref));
    TRY(auto row,
        sql.find("SELECT names, version FROM tenant_extension_install_secrets WHERE tenant "
                 "= $1 AND install_id = $2",
                 {install.tenant, install.id}));
    if (!row) return SecretNames{};
    auto [names, version] = row->as<std::string, std::string>();
    SecretNames answer{.version = version};
    TRY(answer.names, strings_from_column(names, "names"));
    return answer;
  });
}

Result<SecretNames> Settings::set_secret(const Caller& caller, const TenantId& tenant,
                                         const std::string& ref, const std::string& name,
                                         const Secret& value) {
  if (!domain::is_secret_name(name)) {
    return fail(Kind::invalid, "secrets.invalid_name",
                "a secret's name has 1 to 128 letters, digits, dots, dashes and underscores");
  }
  if (value.reveal().size() > kSecretBytes) {
    return fail(Kind::too_large, "secrets.too_large", "a secret has at most 64 KiB");
  }
  return change_secret(caller, tenant, ref, name, &value);
}

Result<SecretNames> Settings::unset_secret(const Caller& caller, const TenantId& tenant,
                                           const std::string& ref, const std::string& name) {
  return change_secret(caller, tenant, ref, name, nullptr);
}

Result<SecretNames> Settings::change_secret(const Caller& caller, const TenantId& tenant,
                                            const std::string& ref, const std::string& name,
                                            const Secret* value) {
  // Keys may come from Vault, so they are fetched before the transaction begins. One that another
  // administrator's change made necessary in between is fetched on the next round.
  constexpr int kRounds = 5;
  for (int round = 0; round < kRounds; ++round) {
    TRY(InstallRow install,
        core_.db().read([&](sql::Executor& sql) { return find_install(sql, tenant, ref); }));
    TRY(DataKeys::Key key, keys_.current(tenant));
    TRY(auto before, core_.db().read([&](sql::Executor& sql) {
      return load_secrets(sql, install.tenant, install.id);
    }));
    domain::SecretMap current;
    if (before) {
      TRY(DataKeys::Key old, keys_.of_version(tenant, before->key_version));
      TRY(current, decrypt(*old.key, *before, install.tenant, install.id));
    }
    if (value == nullptr && !current.reveal(name)) {
      return fail(Kind::not_found, "secrets.not_found", "the install has no such secret");
    }
    TRY(domain::SecretMap changed, changed_map(current, name, value));
    std::string version = core_.new_id();
    Status stored = core_.db().write([&](sql::Executor& sql) -> Status {
      TRY(InstallRow now, find_install(sql, tenant, install.id));
      if (now.secrets_version != (before ? before->version : "")) {
        return fail(Kind::conflict, "secrets.changed_meanwhile",
                    "somebody else changed the secrets");
      }
      TRY_VOID(store_secrets(sql, core_, now, changed, key, version));
      TRY_VOID(touch_install(sql, core_, now));
      return append_audit(sql, core_, caller,
                          {.tenant = now.tenant,
                           .action = value != nullptr ? "secret.set" : "secret.unset",
                           .target = now.id,
                           .details = {{"name", name}, {"version", version}}});
    });
    if (!stored && stored.error().code == "secrets.changed_meanwhile") continue;
    TRY_VOID(stored);
    changes_.announce();
    SecretNames names{.version = version};
    for (std::string_view each : changed.names()) names.names.emplace_back(each);
    return names;
  }
  return fail(Kind::conflict, "secrets.changed_meanwhile",
              "the secrets change too fast; try again");
}

Result<DeclaredSettings> Settings::declared(const TenantId& tenant, const std::string& ref) const {
  TRY(std::string text, core_.db().read([&](sql::Executor& sql) -> Result<std::string> {
    TRY(InstallRow install, find_install(sql, tenant, ref));
    TRY(auto row,
        sql.find("SELECT manifest FROM extension_version WHERE id = $1", {install.version.id}));
    return row ? row->at<std::string>(0) : std::string();
  }));
  auto report = domain::parse_manifest(text);
  // An older program may have published what this one would refuse.
  if (!report.manifest) return DeclaredSettings{};
  return DeclaredSettings{std::move(report.manifest->config), std::move(report.manifest->secrets)};
}

Result<std::optional<Settings::OpenSecrets>> Settings::open(const TenantId& tenant,
                                                            const std::string& install) {
  TRY(auto stored, core_.db().read([&](sql::Executor& sql) {
    return load_secrets(sql, tenant.str(), install);
  }));
  if (!stored) return std::optional<OpenSecrets>{};
  TRY(DataKeys::Key key, keys_.of_version(tenant, stored->key_version));
  TRY(domain::SecretMap secrets, decrypt(*key.key, *stored, tenant.str(), install));
  return std::optional<OpenSecrets>{OpenSecrets{std::move(secrets), stored->version}};
}

}  // namespace alga::control_plane
