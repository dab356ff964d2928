#include "control_plane/tenants.h"

#include "control_plane/audit.h"

namespace alga::control_plane {
namespace {

boost::json::object tenant_json(const std::string& id, const std::string& name, WallTime created) {
  return {{"id", id}, {"name", name}, {"created_at", format_rfc3339(created)}};
}

}  // namespace

Result<boost::json::object> Tenants::create(const Caller& caller, const std::string& id,
                                            const std::string& name) {
  if (!TenantId::parse(id)) {
    return invalid("id must be 1 to 128 letters, digits, dots, dashes and underscores");
  }
  TRY(std::string label, checked_text(name.empty() ? id : name, "name", 200));
  WallTime now = core_.now();
  TRY_VOID(core_.db().write([&](sql::Executor& sql) -> Status {
    TRY(std::uint64_t made,
        sql.execute("INSERT INTO tenants (id, name, created_at) VALUES ($1, $2, "
                    "$3) ON CONFLICT DO NOTHING",
                    {id, label, now}));
    if (made == 0) return fail(Kind::conflict, "tenant.exists", "there is such a tenant already");
    return append_audit(
        sql, core_, caller,
        {.tenant = id, .action = "tenant.created", .target = id, .details = {{"name", label}}});
  }));
  return tenant_json(id, label, now);
}

Result<std::vector<boost::json::object>> Tenants::list() const {
  TRY(sql::Rows rows, core_.db().read([](sql::Executor& sql) {
    return sql.query("SELECT id, name, created_at FROM tenants ORDER BY id");
  }));
  std::vector<boost::json::object> tenants;
  for (const sql::Row& row : rows) {
    auto [id, name, created] = row.as<std::string, std::string, WallTime>();
    tenants.push_back(tenant_json(id, name, created));
  }
  return tenants;
}

Status require_tenant(sql::Executor& sql, const TenantId& tenant) {
  TRY(auto row, sql.find("SELECT 1 FROM tenants WHERE id = $1", {tenant}));
  if (!row) return fail(Kind::not_found, "tenant.not_found", "there is no such tenant");
  return {};
}

}  // namespace alga::control_plane
