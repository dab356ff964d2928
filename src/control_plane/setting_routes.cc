#include "control_plane/services.h"
#include "control_plane/setting_text.h"

namespace alga::control_plane {
namespace {

/// A secret of the longest kind, escaped as badly as JSON can.
constexpr std::uint64_t kSecretBody = 512U << 10U;

boost::json::object to_json(const std::map<std::string, domain::DeclaredSetting>& declared) {
  boost::json::object json;
  for (const auto& [name, setting] : declared) {
    json[name] = {{"description", setting.description}, {"required", setting.required}};
  }
  return json;
}

/// The answer says what the manifest declares, so that a misspelt name is seen by who set it. What
/// was asked for has been done by then: without the declarations the answer is good as well.
httpd::Response config_response(const Services& services, const TenantId& tenant, const Call& call,
                                const ConfigState& state) {
  boost::json::object config;
  for (const auto& [key, value] : state.config) config[key] = value;
  boost::json::object answer{{"config", std::move(config)}, {"version", state.version}};
  if (!state.warnings.empty()) answer["warnings"] = array_of(state.warnings);
  auto declared = services.settings.declared(tenant, call.param("id"));
  if (declared) answer["declared"] = to_json(declared->config);
  return json_answer(200, answer);
}

httpd::Response names_response(const Services& services, const TenantId& tenant, const Call& call,
                               const SecretNames& secrets) {
  boost::json::object answer{{"names", array_of(secrets.names)}, {"version", secrets.version}};
  auto declared = services.settings.declared(tenant, call.param("id"));
  if (declared) answer["declared"] = to_json(declared->secrets);
  return json_answer(200, answer);
}

Result<std::map<std::string, std::string>> read_settings(json::Object& root) {
  std::map<std::string, std::string> settings;
  const json::Value* set = root.raw("set");
  if (set == nullptr) return settings;
  if (!set->is_object()) return invalid("set is not an object");
  for (const auto& [key, value] : set->get_object()) {
    settings.emplace(std::string(key), setting_text(value));
  }
  return settings;
}

Result<httpd::Response> change_config(Services& services, const Call& call) {
  TRY(auto document, call.body());
  TRY(json::Object root, json::Object::of(document.value()));
  TRY(auto set, read_settings(root));
  TRY(auto unset, root.optional_strings("unset", 1'000));
  TRY_VOID(root.finish());
  TRY(TenantId tenant, call.tenant());
  TRY(ConfigState state,
      services.settings.change_config(call.caller, tenant, call.param("id"), set,
                                      unset.value_or(std::vector<std::string>{})));
  return config_response(services, tenant, call, state);
}

Result<httpd::Response> set_secret(Services& services, const Call& call) {
  TRY(auto document, call.body());
  TRY(json::Object root, json::Object::of(document.value()));
  TRY(std::string text, root.string("value"));
  Secret value{std::move(text)};
  TRY_VOID(root.finish());
  TRY(TenantId tenant, call.tenant());
  TRY(SecretNames names, services.settings.set_secret(call.caller, tenant, call.param("id"),
                                                      call.param("name"), value));
  return names_response(services, tenant, call, names);
}

}  // namespace

void add_setting_routes(Api& api, Services& services) {
  constexpr auto kAdmins = Access::tenant_admins;
  const ActionOptions changing{.changes_installs = true};
  api.add("GET", "/api/v1/installs/{id}/config", kAdmins,
          [&services](const Call& call) -> Result<httpd::Response> {
            TRY(TenantId tenant, call.tenant());
            TRY(ConfigState state, services.settings.config(tenant, call.param("id")));
            return config_response(services, tenant, call, state);
          });
  api.add(
      "PATCH", "/api/v1/installs/{id}/config", kAdmins,
      [&services](const Call& call) { return change_config(services, call); }, changing);
  api.add("GET", "/api/v1/installs/{id}/secrets", kAdmins,
          [&services](const Call& call) -> Result<httpd::Response> {
            TRY(TenantId tenant, call.tenant());
            TRY(SecretNames names, services.settings.secret_names(tenant, call.param("id")));
            return names_response(services, tenant, call, names);
          });
  api.add("PUT", "/api/v1/installs/{id}/secrets/{name}", kAdmins,
          [&services](const Call& call) { return set_secret(services, call); },
          {.route = {.max_body = kSecretBody}, .changes_installs = true});
  api.add(
      "DELETE", "/api/v1/installs/{id}/secrets/{name}", kAdmins,
      [&services](const Call& call) -> Result<httpd::Response> {
        TRY(TenantId tenant, call.tenant());
        TRY(SecretNames names, services.settings.unset_secret(call.caller, tenant, call.param("id"),
                                                              call.param("name")));
        return names_response(services, tenant, call, names);
      },
      changing);
}

}  // namespace alga::control_plane
