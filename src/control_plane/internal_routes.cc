#include <fmt/format.h>

#include "base/bytes.h"
#include "control_plane/record_rows.h"
#include "control_plane/services.h"
#include "domain/envelope.h"
#include "domain/install_config_codec.h"

namespace alga::control_plane {
namespace {

/// A batch of a runner's spool, with room for one line of the longest kind.
constexpr std::uint64_t kRecordBytes = 4U << 20U;

/// The reference's shape: `{error:"install_not_found"}`, our code and the request id beside it.
httpd::Response config_error(const Error& error, std::string_view request_id) {
  std::string_view text = "internal_error";
  switch (error.kind) {
    case Kind::invalid:
    case Kind::too_large: text = "invalid_request"; break;
    case Kind::unauthenticated: text = "unauthorized"; break;
    case Kind::not_found: text = "install_not_found"; break;
    case Kind::denied: text = "install_denied"; break;
    default: break;
  }
  boost::json::object body{{"error", text}, {"code", error.code}, {"request_id", request_id}};
  if (error.kind == Kind::invalid) body["details"] = error.message;
  auto response = json_answer(static_cast<std::uint16_t>(http_status(error.kind)), body);
  if (error.retry_after_s > 0) response.set("retry-after", std::to_string(error.retry_after_s));
  return response;
}

Status check_gateway(Services& services, const httpd::Request& request) {
  if (has_token(request, "x-runner-auth", services.core.options().tokens.install_config)) return {};
  return fail(Kind::unauthenticated, "auth.invalid_token", "the token is not valid");
}

Result<httpd::Response> install_config(Services& services, const httpd::Request& request) {
  TRY_VOID(check_gateway(services, request));
  TRY(auto document, json::Document::parse(request.body));
  TRY(json::Object root, json::Object::of(document.value()));
  TRY(std::string tenant_text, root.string("tenantId", 128));
  TRY(std::string extension, root.string("extensionId", 512));
  auto tenant = TenantId::parse(tenant_text);
  if (!tenant) return invalid("tenantId is not an identifier");
  // A gateway that names itself confirms changes; whoever else asks keeps the answer for a lease.
  const bool holder = request.header(domain::lease_holder_header).has_value();
  if (!holder && services.core.options().remote_gateways) {
    TRY_VOID(services.leases.cover_anonymous());
  }
  TRY(auto config, services.install_configs.confirm_blocking(*tenant, extension));
  auto response = json_answer(200, domain::install_config_to_json(*config));
  response.set("x-ext-config-version", config->config_version);
  response.set("x-ext-secrets-version", config->secrets_version);
  if (config->envelope) {
    response.set("x-ext-secrets-envelope", domain::envelope_header(*config->envelope));
  }
  return response;
}

Status check_registry_key(Services& services, const httpd::Request& request) {
  if (has_token(request, "x-api-key", services.core.options().tokens.registry)) return {};
  return fail(Kind::unauthenticated, "auth.invalid_token", "the token is not valid");
}

Result<httpd::Response> lookup_by_host(Services& services, const httpd::Request& request) {
  TRY_VOID(check_registry_key(services, request));
  std::string host = to_lower(request.query_param("host").value_or(""));
  host = host.substr(0, host.find(':'));
  if (host.empty()) return invalid("host is missing");
  TRY(auto found, services.install_directory.find_host(host));
  return json_answer(200, boost::json::object{{"tenant_id", found.tenant.str()},
                                              {"extension_id", found.extension.str()},
                                              {"content_hash", found.content_hash.prefixed()}});
}

Result<httpd::Response> validate(Services& services, const httpd::Request& request) {
  TRY_VOID(check_registry_key(services, request));
  auto tenant = TenantId::parse(request.query_param("tenant").value_or(""));
  auto extension = ExtensionId::parse(request.query_param("extension").value_or(""));
  auto hash = ContentHash::parse(request.query_param("hash").value_or(""));
  if (!tenant || !extension || !hash) {
    return json_answer(400, boost::json::object{{"valid", false}});
  }
  TRY(bool valid, services.install_directory.find_installed({*tenant, *extension, *hash}));
  return json_answer(200, boost::json::object{{"valid", valid}});
}

Status check_runner(Services& services, const httpd::Request& request) {
  if (has_token(request, "x-runner-auth", services.core.options().tokens.storage)) return {};
  return fail(Kind::unauthenticated, "auth.invalid_token", "the token is not valid");
}

boost::json::array listed(const std::vector<GrantKey>& keys) {
  boost::json::array list;
  for (const GrantKey& key : keys) {
    list.push_back(boost::json::object{{"kid", key.kid}, {"public_key", key.key.base64()}});
  }
  return list;
}

/// Public keys that verify grants and tokens of the broker, for runners of other processes; to be
/// asked once a minute.
Result<httpd::Response> grant_keys(Services& services, const httpd::Request& request) {
  TRY_VOID(check_runner(services, request));
  return json_answer(
      200,
      boost::json::object{{"keys", listed(services.signing.verifiers(KeyPurpose::grant))},
                          {"broker_keys", listed(services.signing.verifiers(KeyPurpose::broker))}});
}

Result<httpd::Response> take_records(Services& services, const httpd::Request& request) {
  TRY_VOID(check_runner(services, request));
  TRY_VOID(store_delivery(services.core, request.body));
  return no_content();
}

}  // namespace

void add_internal_routes(Api& api, Services& services) {
  using Check = Status (*)(Services&, const httpd::Request&);
  const auto admit = [&services](Check check) {
    return [&services, check](const httpd::Request& request) { return check(services, request); };
  };
  for (std::string_view path :
       {"/internal/runner/install-config", "/api/internal/ext-runner/install-config"}) {
    api.add_open(
        "POST", path,
        [&services](const httpd::Request& request) { return install_config(services, request); },
        {.error = &config_error, .admit = admit(&check_gateway)});
  }
  api.add_open("GET", "/internal/grant-keys",
               [&services](const httpd::Request& request) { return grant_keys(services, request); },
               {.admit = admit(&check_runner)});
  api.add_open(
      "POST", "/internal/records",
      [&services](const httpd::Request& request) { return take_records(services, request); },
      {.route = {.max_body = kRecordBytes}, .admit = admit(&check_runner)});
  api.add_open(
      "GET", "/api/installs/lookup-by-host",
      [&services](const httpd::Request& request) { return lookup_by_host(services, request); },
      {.error = &config_error, .admit = admit(&check_registry_key)});
  api.add_open("GET", "/api/installs/validate",
               [&services](const httpd::Request& request) { return validate(services, request); },
               {.error = &config_error, .admit = admit(&check_registry_key)});
}

}  // namespace alga::control_plane
