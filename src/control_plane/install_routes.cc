#include "control_plane/services.h"

namespace alga::control_plane {
namespace {

constexpr std::size_t kCapabilities = 64;
constexpr std::size_t kRules = 100;

Result<LimitChange> read_limit(json::Object& object, std::string_view name, std::int64_t most) {
  LimitChange change;
  if (!object.has(name)) return change;
  TRY(const auto value, object.optional_integer(name, 1, most));
  change.emplace();  // null takes the limit back
  if (value) change->emplace(static_cast<std::uint64_t>(*value));
  return change;
}

Result<LimitChanges> read_limits(json::Object& root) {
  LimitChanges limits;
  TRY(auto object, root.optional_object("limits"));
  if (!object) return limits;
  // The server's maxima of architecture section 10; the runner clamps again to its own.
  TRY(limits.timeout_ms, read_limit(*object, "timeout_ms", 120'000));
  TRY(limits.memory_mb, read_limit(*object, "memory_mb", 1'024));
  TRY(limits.cpu_ms, read_limit(*object, "cpu_ms", 60'000));
  TRY_VOID(object->finish());
  return limits;
}

boost::json::object difference_json(const CapabilityDifference& difference) {
  return {{"requested", names_of(difference.requested)},
          {"granted", names_of(difference.granted)},
          {"withheld", names_of(difference.withheld)}};
}

boost::json::object difference_json(const EgressDifference& difference) {
  return {{"requested", array_of(difference.requested)},
          {"granted", array_of(difference.granted)},
          {"missing", array_of(difference.missing)}};
}

httpd::Response outcome_response(std::uint16_t status, const Installs::Outcome& outcome) {
  return json_answer(
      status, boost::json::object{{"install", to_json(outcome.install)},
                                  {"capability_difference", difference_json(outcome.capabilities)},
                                  {"egress_difference", difference_json(outcome.egress)},
                                  {"warnings", array_of(outcome.warnings)}});
}

httpd::Response install_response(const InstallRow& install) {
  return json_answer(200, boost::json::object{{"install", to_json(install)}});
}

/// What is about to be invoked is brought to the runners, in case they have not kept it; first it
/// is compiled, in case it was published for another engine.
void warm_up(Services& services, const InstallRow& install) {
  const auto hash = ContentHash::parse(install.content_hash);
  if (!hash) return;
  services.warm_ups.order(*hash);
  services.keep_compiled.order(*hash);
}

Result<httpd::Response> create(Services& services, const Call& call) {
  TRY(auto document, call.body());
  TRY(json::Object root, json::Object::of(document.value()));
  NewInstall request;
  TRY(request.extension, root.string("extension", 512));
  TRY(auto version, root.optional_string("version", 128));
  request.version = version.value_or("");
  TRY(auto capabilities, root.optional_strings("capabilities", kCapabilities));
  request.capabilities = capabilities.value_or(std::vector<std::string>{});
  TRY(auto egress, root.optional_strings("egress", kRules));
  request.egress = egress.value_or(std::vector<std::string>{});
  TRY(request.config, root.string_map("config"));
  TRY(const LimitChanges limits, read_limits(root));
  request.limits = limits.applied_to({});
  TRY(auto named, root.optional_string("tenant", 128));
  TRY_VOID(root.finish());
  TRY(TenantId tenant, call.tenant(named));
  TRY(auto outcome, services.installs.create(call.caller, tenant, request));
  warm_up(services, outcome.install);
  return outcome_response(201, outcome);
}

Result<httpd::Response> list(Services& services, const Call& call) {
  TRY(TenantId tenant, call.tenant());
  TRY(auto installs, services.installs.list(tenant));
  boost::json::array array;
  for (const InstallRow& install : installs) array.push_back(to_json(install));
  return json_answer(200, boost::json::object{{"installs", std::move(array)}});
}

Result<httpd::Response> update(Services& services, const Call& call) {
  TRY(auto document, call.body());
  TRY(json::Object root, json::Object::of(document.value()));
  TRY(auto version, root.optional_string("version", 128));
  TRY_VOID(root.finish());
  TRY(TenantId tenant, call.tenant());
  TRY(auto outcome,
      services.installs.update(call.caller, tenant, call.param("id"), version.value_or("")));
  warm_up(services, outcome.install);
  return outcome_response(200, outcome);
}

Result<httpd::Response> change_grants(Services& services, const Call& call) {
  TRY(auto document, call.body());
  TRY(json::Object root, json::Object::of(document.value()));
  GrantChange change;
  TRY(change.capabilities, root.optional_strings("capabilities", kCapabilities));
  TRY(change.withhold, root.optional_strings("withhold", kCapabilities));
  TRY(change.egress, root.optional_strings("egress", kRules));
  TRY(change.limits, read_limits(root));
  TRY_VOID(root.finish());
  TRY(TenantId tenant, call.tenant());
  TRY(InstallRow install,
      services.installs.change_grants(call.caller, tenant, call.param("id"), change));
  return install_response(install);
}

Result<httpd::Response> set_enabled(Services& services, const Call& call, bool enabled) {
  TRY(TenantId tenant, call.tenant());
  TRY(InstallRow install,
      services.installs.set_enabled(call.caller, tenant, call.param("id"), enabled));
  if (enabled) warm_up(services, install);
  return install_response(install);
}

}  // namespace

void add_install_routes(Api& api, Services& services) {
  constexpr auto kAdmins = Access::tenant_admins;
  const ActionOptions changing{.changes_installs = true};
  api.add(
      "POST", "/api/v1/installs", kAdmins,
      [&services](const Call& call) { return create(services, call); }, changing);
  api.add("GET", "/api/v1/installs", kAdmins,
          [&services](const Call& call) { return list(services, call); });
  api.add("GET", "/api/v1/installs/{id}", kAdmins,
          [&services](const Call& call) -> Result<httpd::Response> {
            TRY(TenantId tenant, call.tenant());
            TRY(InstallRow install, services.installs.get(tenant, call.param("id")));
            return install_response(install);
          });
  api.add(
      "DELETE", "/api/v1/installs/{id}", kAdmins,
      [&services](const Call& call) -> Result<httpd::Response> {
        TRY(TenantId tenant, call.tenant());
        TRY_VOID(services.installs.remove(call.caller, tenant, call.param("id")));
        return no_content();
      },
      changing);
  api.add(
      "POST", "/api/v1/installs/{id}/update", kAdmins,
      [&services](const Call& call) { return update(services, call); }, changing);
  api.add(
      "POST", "/api/v1/installs/{id}/enable", kAdmins,
      [&services](const Call& call) { return set_enabled(services, call, true); }, changing);
  api.add(
      "POST", "/api/v1/installs/{id}/disable", kAdmins,
      [&services](const Call& call) { return set_enabled(services, call, false); }, changing);
  api.add(
      "PUT", "/api/v1/installs/{id}/grants", kAdmins,
      [&services](const Call& call) { return change_grants(services, call); }, changing);
}

}  // namespace alga::control_plane
