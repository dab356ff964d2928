#include "control_plane/installs.h"

#include <algorithm>

#include "control_plane/audit.h"
#include "control_plane/lease_holders.h"
#include "control_plane/settings.h"
#include "control_plane/tenants.h"
#include "domain/egress_policy.h"

namespace alga::control_plane {
namespace {

/// Grants travel in a header; this leaves room for everything else in it.
constexpr std::size_t kEgressRules = 100;
constexpr std::size_t kEgressBytes = 8U << 10U;

Result<domain::EgressPolicy> consented_policy(const Caller& caller,
                                              const std::vector<std::string>& rules) {
  std::size_t bytes = 0;
  for (const std::string& rule : rules) bytes += rule.size();
  if (rules.size() > kEgressRules || bytes > kEgressBytes) {
    return fail(Kind::too_large, "install.too_many_rules",
                "an install has at most 100 egress rules of 8 KiB together");
  }
  TRY(auto policy, domain::EgressPolicy::parse(rules));
  if (policy.needs_operator() && !caller.principal.is_operator()) {
    return fail(Kind::denied, "egress.operator_required",
                "rules for private addresses and for any host need an operator");
  }
  return policy;
}

Status store_capabilities(sql::Executor& sql, const Core& core, const Caller& caller,
                          const InstallRow& install, const domain::CapabilitySet& granted,
                          const domain::CapabilitySet& withheld) {
  TRY_VOID(
      sql.execute("DELETE FROM tenant_extension_install_grant WHERE tenant = $1 AND install_id = "
                  "$2",
                  {install.tenant, install.id}));
  auto insert = [&](const domain::CapabilitySet& set, bool off) -> Status {
    for (const std::string& name : set.names()) {
      TRY_VOID(
          sql.execute("INSERT INTO tenant_extension_install_grant (tenant, install_id, "
                      "capability, withheld, granted_at, granted_by) VALUES ($1, $2, $3, $4, "
                      "$5, $6)",
                      {install.tenant, install.id, name, off, core.now(), caller.principal.id}));
    }
    return {};
  };
  TRY_VOID(insert(granted.without(withheld), false));
  return insert(withheld, true);
}

Status store_egress(sql::Executor& sql, const Core& core, const Caller& caller,
                    const InstallRow& install, const std::vector<std::string>& rules) {
  TRY_VOID(
      sql.execute("DELETE FROM tenant_extension_install_egress WHERE tenant = $1 AND install_id "
                  "= $2",
                  {install.tenant, install.id}));
  for (const std::string& rule : rules) {
    TRY_VOID(
        sql.execute("INSERT INTO tenant_extension_install_egress (tenant, install_id, rule, "
                    "granted_at, granted_by) VALUES ($1, $2, $3, $4, $5)",
                    {install.tenant, install.id, rule, core.now(), caller.principal.id}));
  }
  return {};
}

Status store_limits(sql::Executor& sql, const InstallRow& install, const InstallLimits& limits) {
  TRY_VOID(sql.execute(
      "UPDATE tenant_extension_install SET timeout_ms = $1, memory_mb = $2, cpu_ms = "
      "$3 WHERE tenant = $4 AND id = $5",
      {limits.timeout_ms, limits.memory_mb, limits.cpu_ms, install.tenant, install.id}));
  return {};
}

CapabilityDifference compare_capabilities(const InstallRow& install) {
  auto effective = install.effective();
  return {.requested = install.version.requested,
          .granted = install.version.requested.intersection(effective),
          .withheld = install.version.requested.without(effective)};
}

EgressDifference compare_egress(const InstallRow& install) {
  EgressDifference difference{.requested = install.version.egress, .granted = install.egress};
  std::ranges::copy_if(install.version.egress, std::back_inserter(difference.missing),
                       [&](const std::string& rule) {
                         return std::ranges::find(install.egress, rule) == install.egress.end();
                       });
  return difference;
}

Installs::Outcome outcome_of(InstallRow install, std::vector<std::string> warnings) {
  CapabilityDifference capabilities = compare_capabilities(install);
  EgressDifference egress = compare_egress(install);
  return {std::move(install), capabilities, std::move(egress), std::move(warnings)};
}

AuditEvent event_of(const InstallRow& install, std::string action, boost::json::object details) {
  details["extension"] = install.version.slug;
  return {.tenant = install.tenant,
          .action = std::move(action),
          .target = install.id,
          .details = std::move(details)};
}

/// The reference shortens ids to 32 bits, and two tenants can meet; a whole id cannot.
std::optional<std::string> domain_of(const Core& core, const std::string& id) {
  if (core.options().domain_root.empty()) return std::nullopt;
  std::string label;
  std::ranges::copy_if(id, std::back_inserter(label), [](char c) { return c != '-'; });
  return label + "." + core.options().domain_root;
}

Status insert_install(sql::Executor& sql, const Core& core, const TenantId& tenant,
                      const std::string& id, const PublishedVersion& version,
                      const NewInstall& request) {
  TRY(std::uint64_t made,
      sql.execute("INSERT INTO tenant_extension_install (tenant, id, extension_id, version_id, "
                  "content_hash, is_enabled, status, runner_domain, timeout_ms, memory_mb, "
                  "cpu_ms, generation, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, 1, "
                  "'enabled', $6, $7, $8, $9, 1, $10, $10) ON CONFLICT DO NOTHING",
                  {tenant, id, version.extension_id, version.id, version.content_hash,
                   domain_of(core, id), request.limits.timeout_ms, request.limits.memory_mb,
                   request.limits.cpu_ms, core.now()}));
  if (made == 0) {
    return fail(Kind::conflict, "install.exists", "the tenant has this extension already");
  }
  return {};
}

/// While the platform opens step by step, only the tenants of the pilot install.
Status check_pilot(const Core& core, const TenantId& tenant) {
  const auto& pilots = core.options().publishing.pilot_tenants;
  if (pilots.empty() || std::ranges::find(pilots, tenant.str()) != pilots.end()) return {};
  return fail(Kind::denied, "install.not_in_pilot", "the tenant does not take part in the pilot");
}

}  // namespace

InstallLimits LimitChanges::applied_to(const InstallLimits& before) const {
  return {.timeout_ms = timeout_ms.value_or(before.timeout_ms),
          .memory_mb = memory_mb.value_or(before.memory_mb),
          .cpu_ms = cpu_ms.value_or(before.cpu_ms)};
}

Result<Installs::Outcome> Installs::create(const Caller& caller, const TenantId& tenant,
                                           const NewInstall& request) {
  TRY(auto granted, domain::parse_capabilities(request.capabilities));
  TRY(auto policy, consented_policy(caller, request.egress));
  TRY_VOID(check_config(request.config));
  TRY_VOID(check_pilot(core_, tenant));
  std::string id = core_.new_id();
  TRY(InstallRow made, core_.db().write([&](sql::Executor& sql) -> Result<InstallRow> {
    TRY_VOID(require_tenant(sql, tenant));
    TRY(auto version,
        find_version(sql, core_.options().publishing, tenant, request.extension, request.version));
    TRY_VOID(insert_install(sql, core_, tenant, id, version, request));
    InstallRow install{.tenant = tenant.str(), .id = id, .version = version};
    TRY_VOID(store_capabilities(sql, core_, caller, install, granted, {}));
    TRY_VOID(store_egress(sql, core_, caller, install, policy.rules()));
    TRY_VOID(store_config(sql, core_, install, request.config));
    TRY_VOID(mark_change(sql));
    TRY_VOID(append_audit(sql, core_, caller,
                          event_of(install, "install.created",
                                   {{"version", version.version},
                                    {"capabilities", names_of(granted)},
                                    {"egress", array_of(policy.rules())},
                                    {"limits", to_json(request.limits)}})));
    return find_install(sql, tenant, id);
  }));
  changes_.announce();
  return outcome_of(std::move(made), policy.warnings());
}

Result<Installs::Outcome> Installs::update(const Caller& caller, const TenantId& tenant,
                                           const std::string& ref, const std::string& version) {
  TRY(InstallRow changed, core_.db().write([&](sql::Executor& sql) -> Result<InstallRow> {
    TRY(InstallRow install, find_install(sql, tenant, ref));
    TRY(auto next, find_version(sql, core_.options().publishing, tenant,
                                install.version.extension_id, version));
    TRY_VOID(
        sql.execute("UPDATE tenant_extension_install SET version_id = $1, content_hash = $2 "
                    "WHERE tenant = $3 AND id = $4",
                    {next.id, next.content_hash, tenant, install.id}));
    // Only what the old version asked for was looked at when it was granted: a grant that the old
    // version could not use must not come alive with the new one.
    TRY_VOID(store_capabilities(sql, core_, caller, install,
                                install.granted.intersection(install.version.requested),
                                install.withheld));
    TRY_VOID(touch_install(sql, core_, install));
    TRY_VOID(append_audit(sql, core_, caller,
                          event_of(install, "install.updated",
                                   {{"from", install.version.version}, {"to", next.version}})));
    return find_install(sql, tenant, install.id);
  }));
  changes_.announce();
  return outcome_of(std::move(changed), {});
}

Result<InstallRow> Installs::set_enabled(const Caller& caller, const TenantId& tenant,
                                         const std::string& ref, bool enabled) {
  TRY(InstallRow changed, core_.db().write([&](sql::Executor& sql) -> Result<InstallRow> {
    TRY(InstallRow install, find_install(sql, tenant, ref));
    TRY_VOID(
        sql.execute("UPDATE tenant_extension_install SET is_enabled = $1, status = $2 WHERE "
                    "tenant = $3 AND id = $4",
                    {enabled, enabled ? "enabled" : "disabled", tenant, install.id}));
    TRY_VOID(touch_install(sql, core_, install));
    TRY_VOID(append_audit(sql, core_, caller,
                          event_of(install, enabled ? "install.enabled" : "install.disabled", {})));
    return find_install(sql, tenant, install.id);
  }));
  changes_.announce();
  return changed;
}

Result<InstallRow> Installs::change_grants(const Caller& caller, const TenantId& tenant,
                                           const std::string& ref, const GrantChange& change) {
  domain::CapabilitySet granted;
  domain::CapabilitySet withheld;
  if (change.capabilities) {
    TRY(granted, domain::parse_capabilities(*change.capabilities));
  }
  if (change.withhold) {
    TRY(withheld, domain::parse_capabilities(*change.withhold));
    withheld = withheld.intersection(domain::default_capabilities());
  }
  TRY(auto policy, consented_policy(caller, change.egress.value_or(std::vector<std::string>{})));
  TRY(InstallRow changed, core_.db().write([&](sql::Executor& sql) -> Result<InstallRow> {
    TRY(InstallRow install, find_install(sql, tenant, ref));
    TRY_VOID(store_capabilities(sql, core_, caller, install,
                                change.capabilities ? granted : install.granted,
                                change.withhold ? withheld : install.withheld));
    if (change.egress) TRY_VOID(store_egress(sql, core_, caller, install, policy.rules()));
    TRY_VOID(store_limits(sql, install, change.limits.applied_to(install.limits)));
    TRY_VOID(touch_install(sql, core_, install));
    TRY(InstallRow after, find_install(sql, tenant, install.id));
    TRY_VOID(append_audit(sql, core_, caller,
                          event_of(after, "install.granted",
                                   {{"capabilities", names_of(after.granted)},
                                    {"withheld", names_of(after.withheld)},
                                    {"egress", array_of(after.egress)},
                                    {"limits", to_json(after.limits)}})));
    return after;
  }));
  changes_.announce();
  return changed;
}

Status Installs::remove(const Caller& caller, const TenantId& tenant, const std::string& ref) {
  const auto body = [&](sql::Executor& sql) -> Status {
    TRY(InstallRow install, find_install(sql, tenant, ref));
    // What it stores goes with it: whoever is writing that comes first, and nobody after this.
    TRY_VOID(sql.query("SELECT 1 FROM tenant_extension_install WHERE tenant = $1 AND id = $2" +
                           std::string(sql.row_lock()),
                       {tenant, install.id}));
    TRY(install, find_install(sql, tenant, install.id));
    TRY_VOID(sql.execute("DELETE FROM tenant_extension_install WHERE tenant = $1 AND id = $2",
                         {tenant, install.id}));
    TRY_VOID(mark_change(sql));
    return append_audit(sql, core_, caller, event_of(install, "install.removed", {}));
  };
  TRY_VOID(core_.db().write(body, {.isolation = sql::Isolation::read_committed}));
  changes_.announce();
  return {};
}

Result<InstallRow> Installs::get(const TenantId& tenant, const std::string& ref) const {
  return core_.db().read([&](sql::Executor& sql) { return find_install(sql, tenant, ref); });
}

Result<std::vector<InstallRow>> Installs::list(const TenantId& tenant) const {
  return core_.db().read([&](sql::Executor& sql) { return list_installs(sql, tenant); });
}

}  // namespace alga::control_plane
