#include "control_plane/api.h"

#include <charconv>
#include <set>

#include "base/bytes.h"
#include "base/token_lines.h"
#include "httpd/url.h"

namespace alga::control_plane {
namespace {

std::optional<std::string> token_of(const httpd::Request& request) {
  constexpr std::string_view kBearer = "Bearer ";
  if (auto header = request.header("authorization")) {
    if (header->size() > kBearer.size() && iequals(header->substr(0, kBearer.size()), kBearer)) {
      return std::string(trim(header->substr(kBearer.size())));
    }
    return std::nullopt;
  }
  if (auto key = request.header("x-api-key")) return std::string(*key);
  return std::nullopt;
}

/// Somebody in front of us may have read the one, and we the other.
Status ambiguous(std::string_view what) {
  return fail(Kind::invalid, "request.ambiguous", std::string(what) + " may stand once");
}

/// Who asks, and for which tenant, can be read in one way only.
Status check_identity(const httpd::Request& request) {
  std::set<std::string, std::less<>> seen;
  for (const domain::Header& header : request.headers) {
    for (std::string_view name : {"authorization", "x-api-key", "x-tenant-id"}) {
      if (!iequals(header.name, name)) continue;
      if (!seen.emplace(name).second) return ambiguous(name);
    }
  }
  const auto key = request.header("x-api-key");
  if (key && seen.contains("authorization") && token_of(request) != *key) {
    return ambiguous("a token, in authorization or x-api-key,");
  }
  return {};
}

Status check_query(const httpd::Request& request) {
  std::set<std::string> seen;
  for (auto& [name, value] : httpd::parse_query(request.query)) {
    if (!seen.insert(name).second) return ambiguous("a parameter of the query");
  }
  return {};
}

struct Route {
  const Core* core;
  const ApiKeys* keys;
  const LeaseHolders* leases;
  Access access;
  Action action;
  ActionOptions options;
};

httpd::Response written(const Result<httpd::Response>& outcome, ErrorWriter error,
                        std::string_view request_id) {
  return error(outcome.error(), request_id);
}

async::Task<Result<domain::Principal>> permitted(const Route* route,
                                                 const httpd::Request* request) {
  auto principal = co_await authenticate(route->core, route->keys, request);
  if (principal) CO_TRY_VOID(authorise(*principal, route->access));
  co_return principal;
}

bool announces_body(const httpd::Request& request) {
  if (request.header("transfer-encoding")) return true;
  const auto length = request.header("content-length");
  return length && *length != "0";
}

/// Strangers fill neither the disk nor the memory that bodies share. Keys are looked up once for
/// this and for the request itself, as ApiKeys remembers them for a moment.
async::Task<std::optional<httpd::Response>> admit(std::shared_ptr<const Route> route,
                                                  httpd::Request request) {
  if (!announces_body(request)) co_return std::nullopt;
  const auto principal = co_await permitted(route.get(), &request);
  if (principal) co_return std::nullopt;
  co_return route->options.error(principal.error(), request.request_id);
}

async::Task<std::optional<httpd::Response>> admit_open(std::shared_ptr<const ActionOptions> options,
                                                       httpd::Request request) {
  if (!announces_body(request)) co_return std::nullopt;
  const Status known = options->admit(request);
  if (known) co_return std::nullopt;
  co_return options->error(known.error(), request.request_id);
}

async::Task<Result<httpd::Response>> perform(const Route* route, const httpd::Request* request) {
  auto principal = co_await permitted(route, request);
  if (!principal) co_return fail(std::move(principal).error());
  CO_TRY_VOID(check_query(*request));
  Call call{*request, {std::move(*principal), request->request_id}};
  co_return co_await route->core->deps().blocking->run(
      [route, &call] { return route->action(call); });
}

async::Task<httpd::Response> serve(std::shared_ptr<const Route> route, httpd::Request request) {
  Result<httpd::Response> outcome = co_await perform(route.get(), &request);
  if (!outcome) co_return written(outcome, route->options.error, request.request_id);
  if (route->options.changes_installs) co_await route->leases->settle();
  co_return std::move(*outcome);
}

async::Task<httpd::Response> serve_open(const Core* core, const LeaseHolders* leases,
                                        Api::OpenAction action, ActionOptions options,
                                        httpd::Request request) {
  const Status readable = check_query(request);
  if (!readable) co_return options.error(readable.error(), request.request_id);
  Result<httpd::Response> outcome =
      co_await core->deps().blocking->run([&action, &request] { return action(request); });
  if (!outcome) co_return written(outcome, options.error, request.request_id);
  if (options.changes_installs) co_await leases->settle();
  co_return std::move(*outcome);
}

}  // namespace

Result<TenantId> Call::tenant(const std::optional<std::string>& named) const {
  std::optional<std::string> wanted = named;
  if (auto header = request.header("x-tenant-id")) wanted = std::string(*header);
  const auto& own = caller.principal.tenant;
  if (own) {
    if (wanted && *wanted != own->str()) {
      return fail(Kind::denied, "auth.forbidden", "the caller belongs to another tenant");
    }
    return *own;
  }
  if (!caller.principal.is_operator()) {
    return fail(Kind::denied, "auth.forbidden", "the caller belongs to no tenant");
  }
  auto tenant = TenantId::parse(wanted.value_or(""));
  if (!tenant) {
    return fail(Kind::invalid, "request.tenant_missing",
                "an operator names the tenant with the header x-tenant-id");
  }
  return *tenant;
}

std::string Call::param(std::string_view name) const {
  auto found = request.params.find(name);
  ALGA_CHECK(found != request.params.end());
  return found->second;
}

Result<json::Document> Call::body() const { return json::Document::parse(request.body); }

Result<std::uint32_t> Call::limit(std::uint32_t usual, std::uint32_t most) const {
  auto text = request.query_param("limit");
  if (!text) return usual;
  std::uint32_t limit = 0;
  auto [end, code] = std::from_chars(text->data(), text->data() + text->size(), limit);
  if (code != std::errc{} || end != text->data() + text->size() || limit < 1 || limit > most) {
    return invalid("limit must be a number from 1 to " + std::to_string(most));
  }
  return limit;
}

void Api::add(std::string_view method, std::string_view pattern, Access access, Action action,
              ActionOptions options) {
  httpd::RouteOptions limits = options.route;
  auto route = std::make_shared<const Route>(
      Route{&core_, &keys_, &leases_, access, std::move(action), std::move(options)});
  limits.admit = [route](httpd::Request request) { return admit(route, std::move(request)); };
  router_.add(method, pattern, limits,
              [route](httpd::Request request) { return serve(route, std::move(request)); });
}

void Api::add_open(std::string_view method, std::string_view pattern, OpenAction action,
                   ActionOptions options) {
  httpd::RouteOptions limits = options.route;
  if (options.admit) {
    limits.admit = [shared = std::make_shared<const ActionOptions>(options)](
                       httpd::Request request) { return admit_open(shared, std::move(request)); };
  }
  router_.add(method, pattern, limits,
              [core = &core_, leases = &leases_, action = std::move(action),
               options](httpd::Request request) {
                return serve_open(core, leases, action, options, std::move(request));
              });
}

async::Task<Result<domain::Principal>> authenticate(const Core* core, const ApiKeys* keys,
                                                    const httpd::Request* request) {
  CO_TRY_VOID(check_identity(*request));
  auto token = token_of(*request);
  if (!token) {
    co_return fail(Kind::unauthenticated, "auth.missing_token", "this needs a token");
  }
  domain::Authenticator* people = core->deps().people;
  if (people != nullptr && !ApiKeys::is_key(*token)) {
    co_return co_await people->authenticate(*token);
  }
  co_return co_await core->deps().blocking->run(
      [keys, &token] { return keys->authenticate(*token); });
}

Status authorise(const domain::Principal& principal, Access access) {
  bool allowed = principal.is_operator();
  switch (access) {
    case Access::anyone_signed_in: allowed = true; break;
    case Access::operators: break;
    case Access::publishers: allowed |= principal.role == domain::Role::publisher; break;
    case Access::tenant_admins: allowed |= principal.role == domain::Role::tenant_admin; break;
  }
  if (allowed) return {};
  return fail(Kind::denied, "auth.forbidden", "the caller's role does not permit this");
}

bool has_token(const httpd::Request& request, std::string_view header, const Secret& expected) {
  auto given = request.header(header);
  return given && is_token_of(*given, expected);
}

httpd::Response json_answer(std::uint16_t status, const boost::json::value& body) {
  return httpd::json_response(status, to_text(body));
}

httpd::Response no_content() {
  httpd::Response response;
  response.status = 204;
  return response;
}

}  // namespace alga::control_plane
