#include "gateway/access.h"

#include "domain/endpoint.h"
#include "gateway/headers.h"

namespace alga::gateway {
namespace {

using domain::Principal;
using domain::Role;

/// The tenant for whom the caller acts. Those who belong to one may name it, but no other.
Result<TenantId> tenant_of(const Principal& principal, const domain::Headers& headers) {
  TRY(const std::optional<std::string> ours, single_header(headers, "x-alga-tenant"));
  TRY(const std::optional<std::string> plain, single_header(headers, "x-tenant-id"));
  if (ours && plain && *ours != *plain) {
    return fail(Kind::denied, "gateway.tenant_mismatch", "the headers name two tenants");
  }
  const std::optional<std::string>& named = ours ? ours : plain;
  if (principal.tenant) {
    if (named && *named != principal.tenant->str()) {
      return fail(Kind::denied, "gateway.tenant_mismatch", "the token is for another tenant");
    }
    return *principal.tenant;
  }
  if (!principal.is_operator()) {
    return fail(Kind::denied, "gateway.forbidden", "this role invokes no extensions");
  }
  const auto tenant = named ? TenantId::parse(*named) : std::nullopt;
  if (tenant) return *tenant;
  return fail(Kind::invalid, "gateway.tenant_required", "name the tenant in x-tenant-id");
}

Error as_policy_error(const Error& error) {
  if (error.kind == Kind::not_found || error.kind == Kind::invalid) {
    return {Kind::not_found, "gateway.extension_not_available", "no such extension here"};
  }
  return {Kind::unavailable, "gateway.policy_unavailable",
          std::string(error.code) + ": " + error.message, error.retry_after_s};
}

Status check_role(const Principal& principal, const domain::InstallConfig& install,
                  std::string_view method) {
  if (principal.role != Role::client_user) {
    const bool reads = method == "GET" || method == "HEAD";
    if (reads ? principal.extensions.read : principal.extensions.write) return {};
    return fail(Kind::denied, "gateway.forbidden",
                reads ? "the user lacks extension:read" : "the user lacks extension:write");
  }
  const bool is_client = principal.user && principal.user->client_id;
  if (install.client_portal && is_client) return {};
  return fail(Kind::denied, "gateway.forbidden", "not offered to this user");
}

}  // namespace

async::Task<Result<Principal>> authenticate(const domain::Headers* headers,
                                            domain::Authenticator* principals) {
  CO_TRY(std::string token, bearer_token(*headers));
  auto principal = co_await principals->authenticate(std::move(token));
  if (principal) co_return principal;
  if (principal.error().kind == Kind::unauthenticated) {
    co_return fail(Kind::unauthenticated, "gateway.unauthenticated", "the token is not valid");
  }
  co_return fail(Kind::unavailable, "gateway.policy_unavailable",
                 std::string(principal.error().code) + ": " + principal.error().message);
}

async::Task<Result<Access>> admit(AccessRequest request, domain::Authenticator* principals,
                                  domain::InstallConfigs* installs) {
  CO_TRY(Principal principal, co_await authenticate(&request.headers, principals));
  CO_TRY(const TenantId tenant, tenant_of(principal, request.headers));
  auto install = co_await installs->resolve(tenant, request.extension);
  if (!install) co_return fail(as_policy_error(install.error()));
  Access access{.principal = std::move(principal), .install = std::move(*install)};

  const domain::InstallConfig& config = *access.install;
  if (config.endpoints_declared || !request.allow_undeclared_endpoints) {
    const domain::Endpoint* endpoint =
        domain::match_endpoint(config.endpoints, request.method, request.path);
    if (endpoint == nullptr) {
      co_return fail(Kind::not_found, "gateway.endpoint_not_found", "no such endpoint");
    }
    access.endpoint = endpoint->path;
    access.declares_head = endpoint->method == "HEAD";
  }
  CO_TRY_VOID(check_role(access.principal, config, request.method));
  co_return access;
}

}  // namespace alga::gateway
