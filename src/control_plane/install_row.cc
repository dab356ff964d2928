#include "control_plane/install_row.h"

#include <algorithm>

#include "base/bytes.h"
#include "control_plane/lease_holders.h"

namespace alga::control_plane {
namespace {

constexpr std::string_view kInstallColumns =
    "SELECT i.tenant, i.id, i.version_id, i.content_hash, i.is_enabled, i.status, i.timeout_ms, "
    "i.memory_mb, i.cpu_ms, i.generation, i.created_at, i.updated_at, c.version, s.version "
    "FROM tenant_extension_install i JOIN extension_registry e ON e.id = i.extension_id "
    "LEFT JOIN tenant_extension_install_config c ON c.tenant = i.tenant AND c.install_id = i.id "
    "LEFT JOIN tenant_extension_install_secrets s ON s.tenant = i.tenant AND s.install_id = i.id ";

Status read_grants(sql::Executor& sql, InstallRow& install) {
  TRY(sql::Rows grants, sql.query("SELECT capability, withheld FROM tenant_extension_install_grant "
                                  "WHERE tenant = $1 AND install_id = $2",
                                  {install.tenant, install.id}));
  for (const sql::Row& row : grants) {
    auto [name, withheld] = row.as<std::string, bool>();
    auto capability = domain::parse_capability(name);
    if (!capability) continue;  // a name that this program no longer knows grants nothing
    (withheld ? install.withheld : install.granted).insert(*capability);
  }
  TRY(sql::Rows rules,
      sql.query("SELECT rule FROM tenant_extension_install_egress WHERE tenant = $1 "
                "AND install_id = $2 ORDER BY rule",
                {install.tenant, install.id}));
  for (const sql::Row& row : rules) install.egress.push_back(row.at<std::string>(0));
  return {};
}

Result<InstallRow> read_install(sql::Executor& sql, const sql::Row& row) {
  InstallRow install;
  std::string version_id;
  std::optional<std::string> config;
  std::optional<std::string> secrets;
  std::tie(install.tenant, install.id, version_id, install.content_hash, install.enabled,
           install.status, install.limits.timeout_ms, install.limits.memory_mb,
           install.limits.cpu_ms, install.generation, install.created, install.updated, config,
           secrets) = row.as<std::string, std::string, std::string, std::string, bool, std::string,
                             std::optional<std::uint64_t>, std::optional<std::uint64_t>,
                             std::optional<std::uint64_t>, std::uint64_t, WallTime, WallTime,
                             std::optional<std::string>, std::optional<std::string>>();
  install.config_version = config.value_or("");
  install.secrets_version = secrets.value_or("");
  TRY(install.version, load_version(sql, version_id));
  TRY_VOID(read_grants(sql, install));
  return install;
}

}  // namespace

domain::CapabilitySet InstallRow::effective() const {
  return version.requested.intersection(granted)
      .united(domain::default_capabilities())
      .without(withheld);
}

Result<InstallRow> find_install(sql::Executor& sql, const TenantId& tenant,
                                const std::string& ref) {
  TRY(auto row,
      sql.find(std::string(kInstallColumns) +
                   "WHERE i.tenant = $1 AND (i.id = $2 OR i.extension_id = $2 OR e.slug = "
                   "$3)",
               {tenant, ref, to_lower(ref)}));
  if (!row) return fail(Kind::not_found, "install.not_found", "there is no such install");
  return read_install(sql, *row);
}

Result<std::vector<InstallRow>> list_installs(sql::Executor& sql, const TenantId& tenant) {
  TRY(sql::Rows rows,
      sql.query(std::string(kInstallColumns) + "WHERE i.tenant = $1 ORDER BY e.slug", {tenant}));
  std::vector<InstallRow> installs;
  for (const sql::Row& row : rows) {
    TRY(InstallRow install, read_install(sql, row));
    installs.push_back(std::move(install));
  }
  return installs;
}

Status touch_install(sql::Executor& sql, const Core& core, const InstallRow& install) {
  TRY_VOID(
      sql.execute("UPDATE tenant_extension_install SET generation = generation + 1, updated_at "
                  "= $1 WHERE tenant = $2 AND id = $3",
                  {core.now(), install.tenant, install.id}));
  return mark_change(sql);
}

boost::json::array array_of(const std::vector<std::string>& strings) {
  boost::json::array array;
  for (const std::string& text : strings) array.emplace_back(text);
  return array;
}

boost::json::array names_of(const domain::CapabilitySet& capabilities) {
  return array_of(capabilities.names());
}

boost::json::object to_json(const InstallLimits& limits) {
  boost::json::object object;
  if (limits.timeout_ms) object["timeout_ms"] = *limits.timeout_ms;
  if (limits.memory_mb) object["memory_mb"] = *limits.memory_mb;
  if (limits.cpu_ms) object["cpu_ms"] = *limits.cpu_ms;
  return object;
}

boost::json::object to_json(const InstallRow& install) {
  return {{"id", install.id},
          {"tenant", install.tenant},
          {"extension_id", install.version.extension_id},
          {"slug", install.version.slug},
          {"version_id", install.version.id},
          {"version", install.version.version},
          {"content_hash", "sha256:" + install.content_hash},
          {"enabled", install.active()},
          {"status", install.status},
          {"requested", names_of(install.version.requested)},
          {"granted", names_of(install.granted)},
          {"withheld", names_of(install.withheld)},
          {"effective", names_of(install.effective())},
          {"requested_egress", array_of(install.version.egress)},
          {"egress", array_of(install.egress)},
          {"config_version", install.config_version},
          {"secrets_version", install.secrets_version},
          {"limits", to_json(install.limits)},
          {"created_at", format_rfc3339(install.created)},
          {"updated_at", format_rfc3339(install.updated)}};
}

}  // namespace alga::control_plane
