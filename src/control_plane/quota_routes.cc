#include "control_plane/quotas.h"
#include "control_plane/services.h"

namespace alga::control_plane {
namespace {

/// Large enough for everybody, small enough for a column and for JavaScript's numbers.
constexpr std::int64_t kMost = 9'007'199'254'740'991;

Result<Quotas::Change> read_change(json::Object root) {
  Quotas::Change change;
  for (std::size_t i = 0; i < change.size(); ++i) {
    std::string_view name = Quotas::kNames[i];
    if (!root.has(name)) continue;
    TRY(auto limit, root.optional_integer(name, 0, kMost));
    change[i] = limit ? std::optional{static_cast<std::uint64_t>(*limit)} : std::nullopt;
  }
  TRY_VOID(root.finish());
  return change;
}

Result<httpd::Response> answer(Services& services, const TenantId& tenant) {
  TRY(auto report, services.quotas.report(tenant));
  return json_answer(200, boost::json::object{{"quota", std::move(report)}});
}

Result<httpd::Response> set(Services& services, const Call& call) {
  auto tenant = TenantId::parse(call.param("tenant"));
  if (!tenant) return fail(Kind::not_found, "tenant.not_found", "there is no such tenant");
  TRY(auto document, call.body());
  TRY(json::Object root, json::Object::of(document.value()));
  TRY(auto change, read_change(std::move(root)));
  TRY_VOID(services.quotas.set(call.caller, *tenant, change));
  return answer(services, *tenant);
}

}  // namespace

void add_quota_routes(Api& api, Services& services) {
  api.add("GET", "/api/v1/quota", Access::tenant_admins,
          [&services](const Call& call) -> Result<httpd::Response> {
            TRY(TenantId tenant, call.tenant());
            return answer(services, tenant);
          });
  api.add("PUT", "/api/v1/tenants/{tenant}/quota", Access::operators,
          [&services](const Call& call) { return set(services, call); });
}

}  // namespace alga::control_plane
