#include "control_plane/services.h"

namespace alga::control_plane {
namespace {

template <class Text>
boost::json::value text_or_null(const std::optional<Text>& value) {
  return value ? boost::json::value(*value) : boost::json::value(nullptr);
}

httpd::Response listing(std::string_view name, std::vector<boost::json::object> rows) {
  boost::json::array array;
  for (auto& row : rows) array.push_back(std::move(row));
  return json_answer(200, boost::json::object{{name, std::move(array)}});
}

Result<httpd::Response> whoami(const Call& call) {
  const domain::Principal& who = call.caller.principal;
  std::optional<std::string> tenant;
  if (who.tenant) tenant = who.tenant->str();
  return json_answer(
      200, boost::json::object{
               {"principal",
                boost::json::object{{"id", who.id},
                                    {"roles", boost::json::array{domain::to_string(who.role)}},
                                    {"tenant", text_or_null(tenant)},
                                    {"publisher", text_or_null(who.publisher)},
                                    {"label", who.label}}}});
}

Result<NewApiKey> read_new_key(json::Object root) {
  NewApiKey key;
  TRY(key.label, root.string("label", 200));
  TRY(std::string role, root.string("role", 32));
  auto parsed = domain::parse_role(role);
  if (!parsed) {
    return invalid("role must be operator, publisher, tenant_admin, tenant_user or client_user");
  }
  key.role = *parsed;
  TRY(key.tenant, root.optional_string("tenant", 128));
  TRY(key.publisher, root.optional_string("publisher", 128));
  TRY(auto expires, root.optional_string("expires_at", 64));
  if (expires) {
    key.expires_at = parse_rfc3339(*expires);
    if (!key.expires_at) return invalid("expires_at is not an RFC 3339 date-time");
  }
  TRY_VOID(root.finish());
  return key;
}

void add_key_routes(Api& api, Services& services) {
  api.add("POST", "/api/v1/api-keys", Access::tenant_admins,
          [&services](const Call& call) -> Result<httpd::Response> {
            TRY(auto document, call.body());
            TRY(json::Object root, json::Object::of(document.value()));
            TRY(NewApiKey request, read_new_key(std::move(root)));
            TRY(auto created, services.api_keys.create(call.caller, request));
            return json_answer(
                201, boost::json::object{{"id", created.id}, {"key", created.token.reveal()}});
          });
  api.add("GET", "/api/v1/api-keys", Access::tenant_admins,
          [&services](const Call& call) -> Result<httpd::Response> {
            TRY(auto keys, services.api_keys.list(call.caller));
            return listing("api_keys", std::move(keys));
          });
  api.add("DELETE", "/api/v1/api-keys/{id}", Access::tenant_admins,
          [&services](const Call& call) -> Result<httpd::Response> {
            TRY_VOID(services.api_keys.revoke(call.caller, call.param("id")));
            return no_content();
          });
}

void add_tenant_routes(Api& api, Services& services) {
  api.add("POST", "/api/v1/tenants", Access::operators,
          [&services](const Call& call) -> Result<httpd::Response> {
            TRY(auto document, call.body());
            TRY(json::Object root, json::Object::of(document.value()));
            TRY(std::string id, root.string("id", 128));
            TRY(auto name, root.optional_string("name", 200));
            TRY_VOID(root.finish());
            TRY(auto tenant, services.tenants.create(call.caller, id, name.value_or("")));
            return json_answer(201, boost::json::object{{"tenant", std::move(tenant)}});
          });
  api.add("GET", "/api/v1/tenants", Access::operators,
          [&services](const Call&) -> Result<httpd::Response> {
            TRY(auto tenants, services.tenants.list());
            return listing("tenants", std::move(tenants));
          });
}

void add_publisher_routes(Api& api, Services& services) {
  api.add("POST", "/api/v1/publishers", Access::operators,
          [&services](const Call& call) -> Result<httpd::Response> {
            TRY(auto document, call.body());
            TRY(json::Object root, json::Object::of(document.value()));
            TRY(std::string name, root.string("name", 128));
            TRY_VOID(root.finish());
            TRY(auto publisher, services.publishers.create(call.caller, name));
            return json_answer(201, boost::json::object{{"publisher", std::move(publisher)}});
          });
  api.add("GET", "/api/v1/publishers", Access::operators,
          [&services](const Call&) -> Result<httpd::Response> {
            TRY(auto publishers, services.publishers.list());
            return listing("publishers", std::move(publishers));
          });
  api.add("POST", "/api/v1/publishers/{name}/keys", Access::publishers,
          [&services](const Call& call) -> Result<httpd::Response> {
            TRY(auto document, call.body());
            TRY(json::Object root, json::Object::of(document.value()));
            TRY(std::string key, root.string("public_key", 64));
            TRY_VOID(root.finish());
            TRY(std::string key_id,
                services.publishers.add_key(call.caller, call.param("name"), key));
            return json_answer(201, boost::json::object{{"key_id", key_id}});
          });
  api.add("GET", "/api/v1/publishers/{name}/keys", Access::publishers,
          [&services](const Call& call) -> Result<httpd::Response> {
            TRY(auto keys, services.publishers.keys(call.caller, call.param("name")));
            return listing("keys", std::move(keys));
          });
  api.add("DELETE", "/api/v1/publishers/{name}/keys/{key_id}", Access::publishers,
          [&services](const Call& call) -> Result<httpd::Response> {
            TRY_VOID(services.publishers.revoke_key(call.caller, call.param("name"),
                                                    call.param("key_id")));
            services.changes.announce();
            return no_content();
          },
          {.changes_installs = true});
}

/// Long enough for every runner to have asked for the keys again.
constexpr std::chrono::minutes kKeyOverlap{5};

Result<httpd::Response> rotate_grant_key(Services& services, const Call& call) {
  TRY(std::string kid, services.signing.rotate(KeyPurpose::grant, kKeyOverlap));
  TRY_VOID(services.core.db().write([&](sql::Executor& sql) {
    return append_audit(sql, services.core, call.caller,
                        {.tenant = std::string(kPlatformTenant),
                         .action = "grant_key.rotated",
                         .target = kid,
                         .details = {}});
  }));
  WallTime signs_from = services.core.now() + kKeyOverlap;
  return json_answer(201,
                     boost::json::object{{"kid", kid}, {"signs_from", format_rfc3339(signs_from)}});
}

}  // namespace

void add_access_routes(Api& api, Services& services) {
  api.add("GET", "/api/v1/whoami", Access::anyone_signed_in, whoami);
  api.add("POST", "/api/v1/grant-keys/rotate", Access::operators,
          [&services](const Call& call) { return rotate_grant_key(services, call); });
  add_key_routes(api, services);
  add_tenant_routes(api, services);
  add_publisher_routes(api, services);
}

}  // namespace alga::control_plane
