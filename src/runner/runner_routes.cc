#include <algorithm>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <utility>

#include "async/await_callback.h"
#include "base/token_lines.h"
#include "domain/address.h"
#include "domain/envelope.h"
#include "domain/warmup_token.h"
#include "json/decode.h"
#include "runner/engine_calls.h"
#include "runner/execute_json.h"
#include "runner/execution.h"
#include "runner/runner.h"

namespace alga::runner {
namespace {

using domain::EndClass;
using domain::ExecuteRequest;
using domain::ExecuteResponse;

/// The body tells how it ended; the status of HTTP is another than 200 only for what the reference
/// had no answer to: callers that are not believed, conflicts, sizes and overload.
std::uint16_t http_status_of(const ExecuteResponse& response) {
  if (response.error.empty()) return 200;
  const bool refused =
      response.code.starts_with("grant.") || response.code.starts_with("idempotency.") ||
      response.code == "runner.grant_required" || response.code == "runner.identity_mismatch";
  if (refused || response.status == 413 || response.status == 429 || response.status == 503) {
    return response.status;
  }
  return 200;
}

httpd::Response answer(const ExecuteResponse& response, std::string_view request_id) {
  httpd::Response out = httpd::json_response(http_status_of(response),
                                             execute_response_to_json(response, request_id));
  if (out.status != 200 && response.retry_after_s != 0) {
    out.set("retry-after", std::to_string(response.retry_after_s));
  }
  return out;
}

std::optional<std::string> header_of(const httpd::Request& request, std::string_view name) {
  const auto value = request.header(name);
  if (!value || value->empty()) return std::nullopt;
  return std::string(*value);
}

bool is_json(const httpd::Request& request) {
  std::string_view type = request.header("content-type").value_or("");
  type = trim(type.substr(0, type.find(';')));
  return iequals(type, "application/json");
}

/// What headers say about the identity must be what the body says: each of them, because somebody
/// in front of us may have believed the last one.
Status check_identity(const httpd::Request& http, const ExecuteRequest& request) {
  const auto differs = [&http](std::string_view name, std::string_view value) {
    return std::ranges::any_of(http.headers, [&](const domain::Header& field) {
      return iequals(field.name, name) && !field.value.empty() && field.value != value;
    });
  };
  const std::string_view install = request.install ? std::string_view(request.install->str()) : "";
  const std::string_view version = request.version ? std::string_view(request.version->str()) : "";
  if (differs("x-alga-tenant", request.tenant.str()) ||
      differs("x-alga-extension", request.extension.str()) ||
      differs("x-ext-registry-id", request.extension.str()) ||
      differs("x-ext-install-id", install) || differs("x-ext-version-id", version)) {
    return fail(Kind::denied, "runner.identity_mismatch");
  }
  for (const domain::Header& field : http.headers) {
    if (!iequals(field.name, "x-ext-secrets-envelope")) continue;
    if (!request.envelope) return fail(Kind::denied, "secret.header_mismatch");
    TRY_VOID(domain::check_envelope_header(*request.envelope, field.value));
  }
  return {};
}

/// Whoever may call us is believed; what is no number counts as deep, so that no loop hides in it.
std::uint32_t depth_of(const httpd::Request& http) {
  const auto text = http.header(domain::depth_header);
  if (!text) return 0;
  return domain::parse_depth(*text).value_or(domain::bottomless);
}

struct WarmupRequest {
  ContentHash hash;
  /// Whose it is; a caller who shows the control plane's order names nobody.
  std::optional<TenantId> tenant;
  std::optional<ExtensionId> extension;
};

Result<WarmupRequest> warmup_from_json(std::string_view text) {
  TRY(const json::Value document, json::parse(text));
  TRY(json::Object root, json::Object::of(document));
  TRY(const std::string hash_text, root.string("content_hash"));
  TRY(const auto tenant_text, root.optional_string("tenant_id"));
  TRY(const auto extension_text, root.optional_string("extension_id"));
  const auto hash = ContentHash::parse(hash_text);
  if (!hash) return fail(Kind::invalid, "runner.invalid_request", "the hash is not valid");
  WarmupRequest request{.hash = *hash,
                        .tenant = TenantId::parse(tenant_text.value_or("")),
                        .extension = ExtensionId::parse(extension_text.value_or(""))};
  const bool malformed = request.tenant.has_value() != tenant_text.has_value() ||
                         request.extension.has_value() != extension_text.has_value();
  if (malformed) {
    return fail(Kind::invalid, "runner.invalid_request", "an identifier is not valid");
  }
  return request;
}

using Readiness = domain::WarmUpTarget::Answer;

httpd::Response warmup_answer(const Result<Readiness>& answer, std::string_view request_id) {
  if (!answer) return httpd::error_response(answer.error(), request_id);
  switch (*answer) {
    case Readiness::ready: return httpd::json_response(200, R"({"status":"ready"})");
    case Readiness::compiling: break;
    case Readiness::nothing:
      return httpd::error_response(
          {Kind::unprocessable, "runner.no_component", "the bundle has no dist/main.wasm"},
          request_id);
  }
  httpd::Response accepted = httpd::json_response(202, R"({"status":"compiling"})");
  accepted.set("retry-after", "2");
  return accepted;
}

/// From this machine, by the connection's own address: what a proxy says about its client may be
/// what the client told it. And through no proxy, which would lend everybody its place here.
bool is_local(const httpd::Peer& peer) {
  if (peer.forwarded) return false;
  const auto address = domain::parse_address(peer.socket_address);
  if (!address) return false;
  const domain::AddressBytes meant = domain::unmapped(*address);
  return meant.v6 ? meant == domain::parse_address("::1") : meant.bytes[0] == 127;
}

/// For the routes that want to know their caller: nothing, or why not.
async::Task<std::optional<httpd::Response>> admit_if(bool known, std::string request_id) {
  if (known) co_return std::nullopt;
  co_return httpd::problem_response(401, "runner.unauthenticated",
                                    "the caller is not known to this runner", request_id);
}

}  // namespace

bool RunnerRole::is_trusted_caller(const httpd::Request& request) const {
  const bool named = std::ranges::any_of(request.peer.certificate_names, [this](const auto& name) {
    return std::ranges::find(options_.client_names, name) != options_.client_names.end();
  });
  if (named) return true;
  if (options_.service_token.empty()) {
    // Nothing says who may ask; a grant is still demanded of whoever may.
    if (options_.trust != Options::Trust::grant || !options_.client_names.empty()) return false;
    return is_local(request.peer) || !request.peer.certificate_sha256.empty();
  }
  const auto token = request.header("x-runner-service-token");
  return token && is_token_of(*token, options_.service_token);
}

std::size_t RunnerRole::max_body() const {
  return max_execute_body(options_.limits.value(domain::Limit::request_body));
}

void RunnerRole::add_routes(httpd::Router& router) {
  const auto admit = [this](const httpd::Request& request) {
    return admit_if(is_trusted_caller(request), request.request_id);
  };
  const auto refused = [this](const httpd::Request& request, const httpd::Response& response) {
    refusals_.note(request.peer, response.status, response.code, request.request_id);
  };
  router.add("POST", "/v1/execute",
             {.max_body = max_body(),
              .admit = admit,
              .refused = refused,
              .cancel_when_client_leaves = true},
             [this](httpd::Request request) { return handle_execute(std::move(request)); });
  // The control plane's order is checked where the bundle is known; it needs no other proof.
  const auto admit_order = [this](const httpd::Request& request) {
    return admit_if(request.header(domain::warmup_header) || is_trusted_caller(request),
                    request.request_id);
  };
  router.add("POST", "/warmup", {.max_body = 4096, .admit = admit_order, .refused = refused},
             [this](httpd::Request request) { return handle_warmup(std::move(request)); });
}

void RunnerRole::add_health_routes(httpd::Router& router) {
  router.add("GET", "/healthz",
             [this](httpd::Request request) { return handle_healthz(std::move(request)); });
  router.add("GET", "/readyz",
             [this](httpd::Request request) { return handle_readyz(std::move(request)); });
}

httpd::Response RunnerRole::refuse(const ExecuteResponse& response, const httpd::Request& request) {
  count(response);
  httpd::Response out = answer(response, request.request_id);
  out.code = response.code;
  return refuse(std::move(out), request);
}

httpd::Response RunnerRole::refuse(httpd::Response response, const httpd::Request& request) {
  refusals_.note(request.peer, response.status, response.code, request.request_id);
  return response;
}

async::Task<httpd::Response> RunnerRole::handle_execute(httpd::Request http) {
  if (!is_json(http)) {
    co_return refuse(httpd::problem_response(415, "runner.not_json",
                                             "the content type must be JSON", http.request_id),
                     http);
  }
  auto parsed = execute_request_from_json(http.body, max_body());
  http.body = {};
  if (!header_of(http, "x-alga-tenant") || !header_of(http, "x-alga-extension")) {
    if (!parsed && parsed.error().code.starts_with("json.")) {
      co_return refuse(httpd::error_response(parsed.error(), http.request_id), http);
    }
    ExecuteResponse missing =
        failure(400, "", {.code = "runner.missing_headers", .message = {}}, EndClass::refused);
    missing.error = "missing_routing_headers";
    co_return refuse(missing, http);
  }
  if (!parsed) co_return refuse(httpd::error_response(parsed.error(), http.request_id), http);
  ExecuteRequest request = std::move(*parsed);
  if (const Status same = check_identity(http, request); !same) {
    const bool envelope = same.error().code.starts_with("secret.");
    ExecuteResponse refused = failure(
        envelope ? 500 : 403, envelope ? "" : "execute_failed: ", same.error(), EndClass::refused);
    if (envelope) refused.error = "secret_decrypt_failed";
    co_return refuse(refused, http);
  }
  if (!is_identifier(request.request_id)) request.request_id = http.request_id;
  request.grant = header_of(http, "x-alga-grant");
  request.traceparent = header_of(http, "traceparent");
  request.config_version = header_of(http, "x-ext-config-version");
  request.secrets_version = header_of(http, "x-ext-secrets-version");
  request.execution_id = header_of(http, "x-alga-execution");
  if (request.execution_id && !is_identifier(*request.execution_id)) request.execution_id.reset();
  request.depth = depth_of(http);
  request.idempotency_key = header_of(http, "x-idempotency-key");
  if (request.idempotency_key && request.idempotency_key->size() > 255) {
    co_return refuse(failure(400, "execute_failed: ",
                             {.code = "idempotency.bad_key", .message = {}}, EndClass::refused),
                     http);
  }
  http.request_id = request.request_id;
  const auto pass = gate_.enter();
  if (!pass) {
    co_return refuse(failure(503, "execute_failed: ", {Kind::unavailable, "runner.draining", {}, 1},
                             EndClass::overload),
                     http);
  }
  Call call(*this, std::move(request), Call::Once::yes);
  const ExecuteResponse response = co_await call.go();
  co_return answer(response, http.request_id);
}

async::Task<Result<Readiness>> RunnerRole::make_ready(
    ContentHash hash, std::shared_ptr<const blob::CachedBundle> bundle, std::string line) {
  const auto wasm = bundle->component_path();
  if (!wasm) co_return Readiness::nothing;
  auto component = co_await load_component(use_.engine, hash, *wasm, bundle, std::move(line),
                                           options_.cold_wait);
  if (component) co_return Readiness::ready;
  if (component.error().code == "engine.cold") co_return Readiness::compiling;
  if (component.error().code == "engine.component_gone") use_.bundles->forget(bundle);
  co_return fail(std::move(component).error());
}

async::Task<Result<Readiness>> RunnerRole::warm_up(ContentHash hash) {
  const auto pass = gate_.enter();
  if (!pass) co_return fail({Kind::unavailable, "runner.draining", "shutting down", 1});
  auto bundle = co_await async::await_callback<std::shared_ptr<const blob::CachedBundle>>(
      [cache = use_.bundles, hash](blob::BundleCache::Done done) {
        cache->prefetch(hash, std::move(done));
      });
  if (!bundle) co_return fail(std::move(bundle).error());
  co_return co_await make_ready(hash, std::move(*bundle), {});
}

async::Task<httpd::Response> RunnerRole::handle_warmup(httpd::Request http) {
  const auto refusal = [this, &http](const Error& error) {
    return refuse(httpd::error_response(error, http.request_id), http);
  };
  auto parsed = warmup_from_json(http.body);
  if (!parsed) co_return refusal(parsed.error());
  const WarmupRequest request = std::move(*parsed);
  if (const auto order = http.header(domain::warmup_header); order && use_.grants != nullptr) {
    const Status checked =
        domain::check_warmup(*order, request.hash, *use_.grants, use_.clock->wall());
    if (!checked) co_return refusal(checked.error());
    const Result<Readiness> answer = co_await warm_up(request.hash);
    co_return warmup_answer(answer, http.request_id);
  }
  if (!request.tenant || !request.extension) {
    co_return refusal(
        {Kind::invalid, "runner.invalid_request", "tenant_id and extension_id are needed"});
  }
  using Shared = blob::BundleCache::Shared;
  Shared shared = Shared::no;
  if (const auto token = http.header("x-alga-grant"); token && use_.grants != nullptr) {
    const auto grant = use_.grants->verify(*token);
    if (!grant) co_return refusal(grant.error());
    const domain::Grant& says = (*grant)->grant;
    if (says.tenant != *request.tenant || says.extension != *request.extension ||
        says.content_hash != request.hash) {
      co_return refusal({Kind::denied, "grant.hash_mismatch", "another bundle"});
    }
    shared = Shared::yes;
  } else if (!is_trusted_caller(http) ||
             (options_.trust == Options::Trust::grant && options_.service_token.empty() &&
              options_.client_names.empty())) {
    co_return refusal(
        {Kind::unauthenticated, "runner.grant_required", "no grant and no service token"});
  }
  const auto pass = gate_.enter();
  if (!pass) {
    co_return refusal({Kind::unavailable, "runner.draining", "shutting down", 1});
  }
  auto bundle = co_await async::await_callback<std::shared_ptr<const blob::CachedBundle>>(
      [cache = use_.bundles, request, shared](blob::BundleCache::Done done) {
        cache->get(*request.tenant, *request.extension, request.hash, shared, std::move(done));
      });
  if (!bundle) co_return httpd::error_response(bundle.error(), http.request_id);
  const Result<Readiness> answer =
      co_await make_ready(request.hash, std::move(*bundle), request.tenant->str());
  co_return warmup_answer(answer, http.request_id);
}

/// The reference's members; alive as long as the cache can be written.
async::Task<httpd::Response> RunnerRole::handle_healthz(httpd::Request) {
  const Health now = co_await health();
  boost::json::object body;
  body["cache_writable"] = now.seen.cache_writable;
  body["bundle_store"] = now.store_reachable() ? "ok" : "bundle_store_unreachable";
  body["ext_cache_max_bytes"] = nullptr;
  if (options_.cache_max_bytes != 0) {
    body["ext_cache_max_bytes"] = std::to_string(options_.cache_max_bytes);
  }
  co_return httpd::json_response(now.seen.cache_writable ? 200 : 503, boost::json::serialize(body));
}

async::Task<httpd::Response> RunnerRole::handle_readyz(httpd::Request) {
  const Health now = co_await health();
  boost::json::object body;
  body["ready"] = now.ready();
  body["cache_writable"] = now.seen.cache_writable;
  body["store_reachable"] = now.store_reachable();
  body["draining"] = now.draining;
  body["running"] = now.load.running;
  body["waiting"] = now.load.waiting;
  co_return httpd::json_response(now.ready() ? 200 : 503, boost::json::serialize(body));
}

}  // namespace alga::runner
