#include "gateway/gateway.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "async/deadline.h"
#include "base/bytes.h"
#include "crypto/digest.h"
#include "domain/endpoint.h"
#include "domain/limits.h"
#include "domain/trace_context.h"
#include "gateway/access.h"
#include "gateway/answers.h"
#include "gateway/headers.h"
#include "gateway/method_tunnel.h"

namespace alga::gateway {
namespace {

constexpr auto kMethods =
    std::to_array<std::string_view>({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"});
constexpr std::string_view kMethodList = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
constexpr std::string_view kPreflightHeaders =
    "authorization, content-type, x-api-key, x-request-id, x-idempotency-key, x-tenant-id, "
    "x-alga-tenant";
constexpr std::string_view kExposedHeaders =
    "x-request-id, x-ext-config-version, x-ext-secrets-version, retry-after, etag";
constexpr std::size_t kMaxIdempotencyKey = 255;
/// Bodies above this size are not read before the caller has been authenticated.
constexpr std::uint64_t kTrustedBody = 64U << 10U;
constexpr std::array<double, 12> kSeconds{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                          0.1,   0.25,   0.5,   1,    5,     30};

constexpr auto kOutcomes =
    std::to_array<std::string_view>({"ok", "upstream_refusal", "upstream_error", "error", "timeout",
                                     "replayed", "policy_denied", "unavailable"});

/// What a call counts as: an extension that answers 4xx refused its caller and did not fail.
std::string_view outcome_of(const Ending& ending) {
  const bool refused = ending.status == "upstream_error" && ending.response.status < 500;
  return refused ? std::string_view("upstream_refusal") : ending.status;
}

/// What follows `/api/ext/<extension>` in the path, encoded as it came; at least `/`.
std::string guest_path(std::string_view path) {
  std::size_t slash = 0;
  for (int i = 0; i < 3; ++i) {
    slash = path.find('/', slash + 1);
    if (slash == std::string_view::npos) return "/";
  }
  return std::string(path.substr(slash));
}

bool announces_large_body(const httpd::Request& request, std::uint64_t most) {
  if (request.header("transfer-encoding")) return true;
  const std::string_view length = request.header("content-length").value_or("0");
  std::uint64_t bytes = 0;
  const auto [end, error] = std::from_chars(length.data(), length.data() + length.size(), bytes);
  return error != std::errc{} || bytes > std::min(kTrustedBody, most);
}

/// None when there is none, or more than one.
std::optional<std::string> origin_of(const httpd::Request& request) {
  return single_header(request.headers, "origin").value_or(std::nullopt);
}

async::Task<Result<domain::ExecuteResponse>> run(domain::Runner* runner,
                                                 domain::ExecuteRequest request) {
  domain::ExecuteResponse response = co_await runner->execute(std::move(request));
  co_return response;
}

}  // namespace

/// One request on its way through the gateway. Lives on the frame of serve().
class Gateway::Call {
 public:
  Call(Gateway& gateway, Surface surface, httpd::Request& request)
      : gateway_(gateway), use_(gateway.use_), surface_(surface), request_(request) {}

  async::Task<Result<Ending>> go() {
    CO_TRY_VOID(read_request());
    CO_TRY(access_, co_await admit({request_.headers, request_.params.at("extension"), method_,
                                    path_, use_.options.allow_undeclared_endpoints},
                                   use_.principals, use_.installs));
    CO_TRY_VOID(take_rate());
    if (!idempotency_key_) co_return co_await execute();
    co_return co_await execute_once();
  }

  /// The span of the whole request, once it has been answered.
  void report(std::uint16_t status, SteadyTime::duration took) const {
    if (use_.spans == nullptr || !trace_.sampled) return;
    const auto us = std::chrono::duration_cast<std::chrono::microseconds>(took);
    domain::Span span{
        .trace_id = trace_.trace_id,
        .span_id = trace_.parent_id,
        .parent_id = caller_span_,
        .name = method_ + ' ' + (access_ && !access_->endpoint.empty() ? access_->endpoint : "/*"),
        .kind = domain::Span::Kind::server,
        .start = use_.clock->wall() - std::chrono::ceil<std::chrono::milliseconds>(took),
        .duration_us = static_cast<std::uint64_t>(us.count()),
        .attributes = {{"alga.request_id", request_.request_id},
                       {"http.request.method", method_},
                       {"http.response.status_code", std::to_string(status)}},
        .failed = status >= 500};
    if (const domain::InstallConfig* install = this->install()) {
      span.attributes.emplace_back("alga.tenant", install->tenant.str());
      span.attributes.emplace_back("alga.extension", install->registry.str());
    }
    use_.spans->span(std::move(span));
  }

  /// Null until the install is known.
  [[nodiscard]] const domain::InstallConfig* install() const {
    return access_ ? access_->install.get() : nullptr;
  }

 private:
  /// What admit() has said; for all that follows it.
  [[nodiscard]] const Access& access() const {
    ALGA_CHECK(access_.has_value());
    return *access_;
  }

  Status read_request() {
    path_ = guest_path(request_.path);
    TunnelledRequest plain{request_.method, request_.query, std::nullopt};
    if (!request_.body.empty()) plain.body = std::move(request_.body);
    if (surface_ == Surface::proxy) {
      TRY(plain, untunnel(std::move(plain), request_.header("content-type").value_or("")));
    }
    method_ = std::move(plain.method);
    query_ = std::move(plain.query);
    body_ = std::move(plain.body);
    if (std::ranges::find(kMethods, method_) == kMethods.end()) {
      return fail(Kind::not_found, "gateway.endpoint_not_found", "no such endpoint");
    }
    TRY(idempotency_key_, single_header(request_.headers, "x-idempotency-key"));
    if (idempotency_key_ && !is_idempotency_key(*idempotency_key_)) {
      return fail(Kind::invalid, "gateway.bad_idempotency_key",
                  "x-idempotency-key must be 1 to 255 visible characters");
    }
    // Reading twice is harmless; a stored answer would only be stale.
    if (method_ == "GET" || method_ == "HEAD") idempotency_key_.reset();
    TRY(depth_, depth_of(request_.headers));
    // A bad or repeated header begins a new trace, as the standard asks.
    const auto parent = single_header(request_.headers, "traceparent").value_or(std::nullopt);
    const auto theirs = domain::TraceContext::parse(parent.value_or(""));
    if (theirs) {
      caller_span_ = theirs->parent_id;
      trace_ = theirs->child(*use_.random);
    } else {
      trace_ = domain::TraceContext::start(*use_.random, false);
      trace_.sampled = domain::is_sampled(trace_.trace_id, use_.options.trace_sampling);
    }
    return {};
  }

  /// The egress of guests says how deep its request is; a caller that lies only harms itself.
  [[nodiscard]] Result<std::uint32_t> depth_of(const domain::Headers& headers) const {
    TRY(const auto text, single_header(headers, domain::depth_header));
    if (!text) return 0U;
    const auto depth = domain::parse_depth(*text);
    if (depth && *depth <= use_.options.max_depth) return *depth;
    return fail(Kind::denied, "gateway.too_deep",
                "too many extensions that call one another stand behind this request");
  }

  static bool is_idempotency_key(std::string_view key) {
    return !key.empty() && key.size() <= kMaxIdempotencyKey &&
           std::ranges::all_of(key, [](char c) { return c > ' ' && c < 0x7f; });
  }

  Status take_rate() {
    const domain::InstallConfig& install = *access().install;
    const auto decision =
        gateway_.limiter_.take(install.tenant.str() + '\n' + install.registry.str());
    if (decision.allowed) return {};
    const auto wait = std::chrono::ceil<std::chrono::seconds>(decision.retry).count();
    return fail({Kind::rate_limited, "gateway.rate_limited", "too many requests",
                 static_cast<std::uint32_t>(std::max<std::int64_t>(1, wait))});
  }

  /// Once: the body goes with it.
  [[nodiscard]] domain::ExecuteRequest make_request(std::string execution_id) {
    const domain::InstallConfig& install = *access().install;
    domain::HttpRequest http{
        .method = method_ == "HEAD" && !access().declares_head ? "GET" : method_,
        .url = query_.empty() ? path_ : path_ + '?' + query_,
        .headers = guest_request_headers(request_.headers, use_.options.extra_request_headers),
        .body = std::move(body_)};
    http.headers.push_back({"x-request-id", request_.request_id});
    http.headers.push_back({"x-alga-tenant", install.tenant.str()});
    http.headers.push_back({"x-alga-extension", install.registry.str()});
    if (idempotency_key_) {
      http.headers.push_back({"x-idempotency-key", *idempotency_key_});
    } else if (surface_ == Surface::proxy && method_ != "GET" && method_ != "HEAD") {
      http.headers.push_back({"x-idempotency-key", uuid_v7(*use_.clock, *use_.random)});
    }
    domain::ExecuteRequest request{.request_id = request_.request_id,
                                   .tenant = install.tenant,
                                   .extension = install.registry,
                                   .install = install.install,
                                   .version = install.version,
                                   .content_hash = install.content_hash,
                                   .config = install.config,
                                   .http = std::move(http),
                                   .limits = install.limits,
                                   .envelope = install.envelope,
                                   .providers = install.providers,
                                   .user = access().principal.user,
                                   .grant = install.grant,
                                   .traceparent = trace_.header(),
                                   .config_version = install.config_version,
                                   .secrets_version = install.secrets_version};
    request.execution_id = std::move(execution_id);
    request.depth = depth_;
    request.limits.timeout_ms = static_cast<std::uint64_t>(time_limit().count());
    return request;
  }

  /// The install's own, which its control plane has held to the server's maximum, else ours.
  [[nodiscard]] std::chrono::milliseconds time_limit() const {
    const std::optional<std::uint64_t>& own = access().install->limits.timeout_ms;
    return own ? std::chrono::milliseconds{*own} : use_.options.timeout;
  }

  [[nodiscard]] domain::IdempotencyScope scope() const {
    ALGA_CHECK(idempotency_key_.has_value());
    const std::string& place = access().endpoint.empty() ? path_ : access().endpoint;
    const domain::Principal& who = access().principal;
    return {access().install->tenant,
            access().install->install,
            std::string(domain::to_string(who.role)) + ' ' + who.id + ' ' +
                (who.user ? who.user->user_id : ""),
            method_ + ' ' + place,
            *idempotency_key_,
            access().install->answer_key};
  }

  [[nodiscard]] std::string digest() const {
    crypto::Sha256 digest;
    digest.update(method_ + '\n' + path_ + '\n' + query_ + '\n');
    if (body_) digest.update("body\n");
    if (body_) digest.update(*body_);
    return digest.finish_hex();
  }

  async::Task<Result<Ending>> execute_once() {
    const std::string request_digest = digest();
    const auto lease = time_limit() + use_.options.grace;
    auto claim = co_await use_.idempotency->claim(scope(), request_digest, lease);
    if (!claim) co_return fail(claim.error());
    using Claim = domain::IdempotencyClaim::Kind;
    switch (claim->kind) {
      case Claim::replay: co_return replayed(std::move(claim->answer));
      case Claim::in_progress:
        co_return fail({Kind::conflict, "gateway.idempotency_in_progress",
                        "a request with this idempotency key is still running", 1});
      case Claim::mismatch:
        co_return fail(Kind::unprocessable, "gateway.idempotency_mismatch",
                       "this idempotency key was used for another request");
      case Claim::fresh: break;
    }
    Result<Ending> ending = co_await execute();
    if (!ending || !ending->repeatable) {
      // A failure to release only means that the key rests until the end of its lease.
      (void)co_await use_.idempotency->release(scope(), request_digest);
      co_return ending;
    }
    domain::StoredAnswer answer{ending->response.status, ending->response.headers,
                                ending->response.body};
    const Status kept =
        co_await use_.idempotency->complete(scope(), request_digest, std::move(answer));
    if (!kept) {
      use_.log.warn("an idempotent answer could not be kept",
                    {{"request_id", request_.request_id}, {"code", kept.error().code}});
    }
    co_return ending;
  }

  static Ending replayed(domain::StoredAnswer answer) {
    Ending ending{.status = "replayed"};
    ending.response.status = answer.status;
    ending.response.headers = std::move(answer.headers);
    ending.response.body = std::move(answer.body);
    ending.response.set("x-idempotent-replay", "true");
    return ending;
  }

  async::Task<Result<Ending>> execute() {
    const std::string id = uuid_v7(*use_.clock, *use_.random);
    const Status started = co_await use_.executions->start(started_row(id));
    // The tenant's quota is used up: that answer is the caller's, not a failure of ours.
    if (!started && started.error().kind == Kind::rate_limited) co_return fail(started.error());
    if (!started) {
      use_.log.error("an execution could not be logged and was refused",
                     {{"request_id", request_.request_id}, {"code", started.error().code}});
      co_return fail(Kind::unavailable, "gateway.policy_unavailable", started.error().message);
    }
    const SteadyTime begin = use_.clock->steady();
    const SteadyTime deadline =
        std::chrono::steady_clock::now() + time_limit() + use_.options.grace;
    auto outcome = co_await async::with_deadline(run(use_.runner, make_request(id)), deadline);
    Ending ending = outcome ? conclude(std::move(*outcome), request_.request_id)
                            : conclude_failure(outcome.error());
    if (method_ == "HEAD") ending.response.body.clear();
    finish(id, ending, use_.clock->steady() - begin);
    co_return ending;
  }

  [[nodiscard]] Ending conclude_failure(const Error& error) const {
    if (error.code == "async.deadline") return conclude_timeout(request_.request_id);
    if (error.code == "async.cancelled") {
      Ending ending{.status = "error", .error = "cancelled"};
      ending.response =
          refusal({Kind::unavailable, "gateway.stopping", {}, 1}, request_.request_id);
      return ending;
    }
    use_.log.error("an execution ended in an unexpected way",
                   {{"request_id", request_.request_id}, {"code", error.code}});
    Ending ending{.status = "error", .error = "runner_error"};
    ending.response = refusal({Kind::bad_gateway, "gateway.bad_gateway", {}}, request_.request_id);
    return ending;
  }

  [[nodiscard]] domain::StartedExecution started_row(const std::string& id) const {
    const domain::InstallConfig& install = *access().install;
    const domain::Principal& who = access().principal;
    return {.id = id,
            .who = {.tenant = install.tenant.str(),
                    .extension = install.registry.str(),
                    .install = install.install.str(),
                    .version = install.version.str(),
                    .request_id = request_.request_id,
                    .trace_id = trace_.trace_id},
            .at = use_.clock->wall(),
            .config_version = install.config_version,
            .secrets_version = install.secrets_version,
            .method = method_,
            .path = path_,
            .endpoint = access().endpoint,
            .principal_kind = std::string(domain::to_string(who.role)),
            .user_id = who.user ? who.user->user_id : who.id};
  }

  void finish(const std::string& id, const Ending& ending, SteadyTime::duration took) const {
    use_.executions->finish(
        {.id = id,
         .tenant = access().install->tenant.str(),
         .at = use_.clock->wall(),
         .status = ending.status,
         .error = ending.error,
         .http_status = ending.response.status,
         .duration_us = static_cast<std::uint64_t>(
             std::chrono::duration_cast<std::chrono::microseconds>(took).count())});
  }

  Gateway& gateway_;
  const Dependencies& use_;
  Surface surface_;
  httpd::Request& request_;  ///< its body is moved out
  std::string method_, path_, query_;
  domain::TraceContext trace_;  ///< with our own span as the parent of what comes next
  std::string caller_span_;
  std::optional<std::string> body_, idempotency_key_;
  std::uint32_t depth_ = 0;
  std::optional<Access> access_;
};

Gateway::Gateway(Dependencies dependencies)
    : use_(std::move(dependencies)),
      seconds_(use_.metrics->histogram("alga_gateway_request_seconds",
                                       "From the whole request to the whole answer", kSeconds)),
      limiter_(*use_.clock, use_.options.rate) {
  for (const std::string_view outcome : kOutcomes) {
    outcomes_[outcome] =
        &use_.metrics->counter("alga_gateway_requests_total",
                               "Requests for extensions by how they ended", {{"outcome", outcome}});
  }
}

Gateway::~Gateway() = default;

void Gateway::add_routes(httpd::Router& router) {
  httpd::RouteOptions options;
  options.max_body = use_.options.max_body;
  options.admit = [this](httpd::Request request) { return screen(std::move(request)); };
  options.too_large = [this](const httpd::Request& request) { return too_large(request); };
  router.add("*", "/api/ext/{extension}/{path...}", options,
             [this](httpd::Request request) { return serve(Surface::ext, std::move(request)); });
  router.add("*", "/api/ext-proxy/{extension}/{path...}", options,
             [this](httpd::Request request) { return serve(Surface::proxy, std::move(request)); });
}

/// Before a large body is read: only for callers that we know. A preflight has none that matters.
async::Task<std::optional<httpd::Response>> Gateway::screen(httpd::Request request) {
  if (request.method == "OPTIONS") co_return preflight(request);
  if (!announces_large_body(request, use_.options.max_body)) co_return std::nullopt;
  auto principal = co_await authenticate(&request.headers, use_.principals);
  if (principal) co_return std::nullopt;
  httpd::Response response = refusal(principal.error(), request.request_id);
  add_cors(request, response);
  co_return response;
}

httpd::Response Gateway::too_large(const httpd::Request& request) {
  constexpr auto limit = domain::Limit::request_body;
  domain::count_limit_hit(*use_.metrics, limit);
  count("policy_denied", use_.clock->steady());
  use_.log.info("refused", {{"request_id", request.request_id},
                            {"client", request.peer.address},
                            {"code", domain::info(limit).code}});
  httpd::Response response =
      refusal({Kind::too_large, domain::info(limit).code, "the request body is too large"},
              request.request_id);
  response.set("x-request-id", request.request_id);
  add_cors(request, response);
  return response;
}

async::Task<httpd::Response> Gateway::serve(Surface surface, httpd::Request request) {
  if (request.method == "OPTIONS") co_return preflight(request);
  const SteadyTime begin = use_.clock->steady();
  Call call(*this, surface, request);
  Result<Ending> ending = co_await call.go();
  httpd::Response response;
  if (ending) {
    response = std::move(ending->response);
    count(outcome_of(*ending), begin);
  } else {
    response = refusal(ending.error(), request.request_id);
    count(http_status(ending.error().kind) < 500 ? "policy_denied" : "unavailable", begin);
    const bool ours = http_status(ending.error().kind) >= 500;  // for operators to mend
    const domain::InstallConfig* known = call.install();
    use_.log.emit(ours ? LogLevel::warn : LogLevel::info, "refused",
                  {{"request_id", request.request_id},
                   {"tenant", known ? known->tenant.str() : ""},
                   {"install", known ? known->install.str() : ""},
                   {"client", request.peer.address},
                   {"code", ending.error().code},
                   {"reason", ending.error().message}});
  }
  if (const domain::InstallConfig* install = call.install()) {
    response.set("x-ext-config-version", install->config_version);
    response.set("x-ext-secrets-version", install->secrets_version);
  }
  response.set("x-request-id", request.request_id);
  add_cors(request, response);
  call.report(response.status, use_.clock->steady() - begin);
  co_return response;
}

bool Gateway::is_allowed_origin(std::string_view origin) const {
  return std::ranges::find(use_.options.allowed_origins, origin) !=
         use_.options.allowed_origins.end();
}

httpd::Response Gateway::preflight(const httpd::Request& request) const {
  const auto origin = origin_of(request);
  if (origin && !is_allowed_origin(*origin)) {
    return refusal({Kind::denied, "gateway.origin_not_allowed", "this origin may not call"},
                   request.request_id);
  }
  httpd::Response response;
  response.status = 204;
  response.set("allow", std::string(kMethodList));
  response.set("cache-control", "no-store");
  if (origin) {
    response.set("access-control-allow-methods", std::string(kMethodList));
    response.set("access-control-allow-headers", std::string(kPreflightHeaders));
    response.set("access-control-max-age", "120");
  }
  add_cors(request, response);
  return response;
}

void Gateway::add_cors(const httpd::Request& request, httpd::Response& response) const {
  response.set("vary", "origin, authorization, x-api-key, x-tenant-id");
  const auto origin = origin_of(request);
  if (!origin || !is_allowed_origin(*origin)) return;
  response.set("access-control-allow-origin", *origin);
  response.set("access-control-allow-credentials", "true");
  response.set("access-control-expose-headers", std::string(kExposedHeaders));
}

void Gateway::count(std::string_view outcome, SteadyTime since) {
  if (const auto counter = outcomes_.find(outcome); counter != outcomes_.end()) {
    counter->second->add();
  }
  seconds_.observe(std::chrono::duration<double>(use_.clock->steady() - since).count());
}

}  // namespace alga::gateway
