#include "runner/execution.h"

#include <algorithm>
#include <boost/system/system_error.hpp>
#include <functional>
#include <limits>
#include <utility>

#include "async/await_callback.h"
#include "base/bytes.h"
#include "domain/secret_map.h"
#include "runner/engine_calls.h"

namespace alga::runner {
namespace {

using domain::Capability;
using domain::EndClass;
using domain::ExecuteResponse;

constexpr std::string_view execute_failed = "execute_failed: ";
constexpr std::uint32_t retry_after_crowded_s = 1;

std::uint64_t microseconds(SteadyTime from, SteadyTime to) {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(to - from).count());
}

/// Of what the caller says by itself, whoever vouches for the rest.
ExecuteResponse refusal(const Error& error) {
  const auto status = static_cast<std::uint16_t>(http_status(error.kind));
  return failure(status, execute_failed, error, end_of_refusal(error, Vouched::no));
}

/// What a record shows of a URL: its path. Only the body of a request bounds the length of a URL.
std::string shown_path(std::string_view url) {
  constexpr std::size_t longest = 2048;
  const std::string_view path = url.substr(0, url.find('?'));
  if (path.size() <= longest) return std::string(path);
  return std::string(utf8_prefix(path, longest)) + "…";
}

bool has_controls(std::string_view text) {
  return std::ranges::any_of(
      text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; });
}

/// Gives a claimed idempotency key back when nobody has finished it.
class ClaimGuard {
 public:
  ClaimGuard(Idempotency& store, std::string key) : store_(store), key_(std::move(key)) {}
  ClaimGuard(const ClaimGuard&) = delete;
  ClaimGuard& operator=(const ClaimGuard&) = delete;
  ~ClaimGuard() {
    if (!finished_) store_.finish(key_, std::nullopt);
  }
  void finish(const ExecuteResponse& answer) {
    // Only what a guest answered may be repeated; a failure of ours may be over by then.
    if (!answer.error.empty()) return;
    store_.finish(key_, answer);
    // An answer that was not kept has left the key to the next one who claims it.
    finished_ = true;
  }

 private:
  Idempotency& store_;
  const std::string key_;
  bool finished_ = false;
};

/// The codes of what ran into its limit, for the log: `limit.fetch_calls limit.log_lines`.
std::string codes_of(const std::vector<domain::Limit>& limits) {
  std::string text;
  for (const domain::Limit limit : limits) {
    if (!text.empty()) text += ' ';
    text += domain::info(limit).code;
  }
  return text;
}

/// True for the given share of the requests, and always the same for one of them.
bool is_drawn(const std::string& request_id, double share) {
  constexpr auto most = static_cast<double>(std::numeric_limits<std::size_t>::max());
  return share >= 1 || static_cast<double>(std::hash<std::string>{}(request_id)) < share * most;
}

}  // namespace

RunnerRole::Call::Call(RunnerRole& role, domain::ExecuteRequest request, Once once)
    : role_(role),
      request_(std::move(request)),
      once_(once),
      started_(role.use_.clock->wall()),
      begun_(role.use_.clock->steady()),
      method_(request_.http.method),
      path_(shown_path(request_.http.url)) {
  if (request_.request_id.empty()) {
    request_.request_id = uuid_v7(*role_.use_.clock, *role_.use_.random);
  }
  const auto incoming = domain::TraceContext::parse(request_.traceparent.value_or(""));
  if (incoming) caller_span_ = incoming->parent_id;
  trace_ = incoming ? incoming->child(*role_.use_.random)
                    : domain::TraceContext::start(*role_.use_.random, false);
  request_.traceparent = trace_.header();
}

async::Task<ExecuteResponse> RunnerRole::Call::go() {
  ExecuteResponse response;
  try {
    response = co_await steps();
  } catch (const boost::system::system_error& error) {
    const bool cancelled = error.code() == boost::asio::error::operation_aborted;
    outcome_.end = cancelled ? EndClass::cancelled : EndClass::platform;
    const domain::EndClassInfo& end = domain::info(outcome_.end);
    response = failure(end.status, execute_failed, {.code = end.code, .message = {}}, outcome_.end);
    if (!cancelled) author_error_ = error.what();
  } catch (const std::exception& error) {
    const domain::EndClassInfo& end = domain::info(EndClass::platform);
    response =
        failure(end.status, execute_failed, {.code = end.code, .message = {}}, EndClass::platform);
    author_error_ = error.what();
  }
  conclude(response);
  co_return response;
}

async::Task<ExecuteResponse> RunnerRole::Call::steps() {
  Refusal unauthorised = authorise();
  grant_us_ = microseconds(begun_, role_.use_.clock->steady());
  if (unauthorised) co_return std::move(*unauthorised);
  authorised_ = true;
  if (Refusal refused = check_shape()) co_return std::move(*refused);
  if (once_ == Once::yes && request_.idempotency_key) co_return co_await run_once();
  co_return co_await prepare_and_run();
}

RunnerRole::Call::Refusal RunnerRole::Call::authorise() {
  if (!request_.grant || request_.grant->empty()) {
    if (role_.options_.trust == Options::Trust::service_token) return std::nullopt;
    return refusal({Kind::unauthenticated, "runner.grant_required", {}});
  }
  if (role_.use_.grants == nullptr) {
    return refusal({Kind::unauthenticated, "grant.unknown_key", {}});
  }
  auto verified = role_.use_.grants->verify(*request_.grant);
  if (!verified) return refusal(verified.error());
  const domain::Grant& grant = (*verified)->grant;
  if (const Status agrees = domain::check_request(grant, request_); !agrees) {
    return refusal(agrees.error());
  }
  request_.install = grant.install;
  request_.version = grant.version;
  request_.config_version = grant.config_version;
  request_.secrets_version = grant.secrets_version;
  grant_ = std::move(*verified);
  return std::nullopt;
}

RunnerRole::Call::Refusal RunnerRole::Call::check_shape() {
  const domain::HttpRequest& http = request_.http;
  const domain::ServerLimits& limits = role_.options_.limits;
  const auto too_large = [this](domain::Limit limit) {
    domain::count_limit_hit(*role_.use_.metrics, limit);
    return refusal({Kind::too_large, domain::info(limit).code, {}});
  };
  if (http.body && http.body->size() > limits.value(domain::Limit::request_body)) {
    return too_large(domain::Limit::request_body);
  }
  if (http.headers.size() > limits.value(domain::Limit::header_count)) {
    return too_large(domain::Limit::header_count);
  }
  std::uint64_t header_bytes = 0;
  for (const domain::Header& header : http.headers) {
    header_bytes += header.name.size() + header.value.size();
    if (!domain::is_http_token(header.name) || !domain::is_header_value(header.value)) {
      return refusal({Kind::invalid, "runner.invalid_request", {}});
    }
  }
  if (header_bytes > limits.value(domain::Limit::header_bytes)) {
    return too_large(domain::Limit::header_bytes);
  }
  if (!domain::is_http_token(http.method) || has_controls(http.url)) {
    return refusal({Kind::invalid, "runner.invalid_request", {}});
  }
  return std::nullopt;
}

async::Task<ExecuteResponse> RunnerRole::Call::run_once() {
  const std::string key = idempotency_scope(request_);
  Idempotency::Claim claim = role_.idempotency_.claim(key, idempotency_digest(request_));
  switch (claim.state) {
    case Idempotency::State::replay: replayed_ = true; co_return std::move(claim.answer);
    case Idempotency::State::in_progress:
      co_return refusal({Kind::conflict, "idempotency.in_progress", {}, 1});
    case Idempotency::State::mismatch:
      co_return refusal({Kind::unprocessable, "idempotency.mismatch", {}});
    case Idempotency::State::full:
      co_return failure(503, execute_failed, {Kind::unavailable, "idempotency.unavailable", {}, 1},
                        EndClass::overload);
    case Idempotency::State::fresh: break;
  }
  ClaimGuard guard(role_.idempotency_, key);
  ExecuteResponse response = co_await prepare_and_run();
  guard.finish(response);
  co_return response;
}

async::Task<ExecuteResponse> RunnerRole::Call::prepare_and_run() {
  Refusal refused = co_await prepare();
  preparing_.reset();
  if (refused) co_return std::move(*refused);
  co_return co_await run();
}

/// Asked before each step that waits for somebody: what finds all ready is not held up by those
/// who wait. Refuses as the engine refuses what finds no place in its line.
RunnerRole::Call::Refusal RunnerRole::Call::may_wait() {
  if (preparing_) return std::nullopt;
  const std::string& install =
      request_.install ? request_.install->str() : request_.extension.str();
  auto place = role_.preparations_.take(request_.tenant.str(), install);
  if (place) {
    preparing_.emplace(std::move(*place));
    return std::nullopt;
  }
  const domain::Limit limit = place.error();
  domain::count_limit_hit(*role_.use_.metrics, limit);
  const bool server = limit == domain::Limit::executions;
  const char* who = limit == domain::Limit::executions_per_tenant ? "tenant" : "install";
  author_error_ = std::string("the ") + (server ? "server" : who) +
                  " has as many executions prepared at a time as it may";
  return failure(
      server ? 503 : 429, execute_failed,
      {Kind::unavailable, domain::info(EndClass::overload).code, {}, retry_after_crowded_s},
      EndClass::overload);
}

/// The order is the reference's: its callers see the first of several faults.
async::Task<RunnerRole::Call::Refusal> RunnerRole::Call::prepare() {
  if (Refusal refused = co_await fetch_bundle()) co_return std::move(*refused);
  if (Refusal refused = settle_capabilities()) co_return std::move(*refused);
  if (Refusal refused = co_await open_secrets()) co_return std::move(*refused);
  if (Refusal refused = co_await load()) co_return std::move(*refused);
  if (request_.malformed_body) {
    co_return failure(500, execute_failed, {Kind::invalid, "runner.invalid_body", {}},
                      EndClass::refused);
  }
  co_return std::nullopt;
}

async::Task<RunnerRole::Call::Refusal> RunnerRole::Call::fetch_bundle() {
  const SteadyTime begin = role_.use_.clock->steady();
  using Shared = blob::BundleCache::Shared;
  const Shared shared = grant_ ? Shared::yes : Shared::no;
  bundle_ = role_.use_.bundles->find_ready(request_.tenant, request_.extension,
                                           request_.content_hash, shared);
  if (bundle_ && bundle_->component_path()) co_return std::nullopt;
  if (Refusal refused = may_wait()) co_return std::move(*refused);
  auto bundle = co_await async::await_callback<std::shared_ptr<const blob::CachedBundle>>(
      [this, shared](blob::BundleCache::Done done) {
        role_.use_.bundles->get(request_.tenant, request_.extension, request_.content_hash, shared,
                                std::move(done));
      });
  cold_us_ += microseconds(begin, role_.use_.clock->steady());
  if (!bundle) {
    author_error_ = bundle.error().message;
    co_return failure(502, "bundle_fetch_failed: ", bundle.error(),
                      end_of_fetch(bundle.error(), vouched()));
  }
  if (!(*bundle)->component_path()) {
    co_return failure(502, "bundle_fetch_failed: ", {.code = "runner.no_component", .message = {}},
                      EndClass::bad_component);
  }
  bundle_ = std::move(*bundle);
  co_return std::nullopt;
}

RunnerRole::Call::Refusal RunnerRole::Call::settle_capabilities() {
  auto asked = domain::parse_capabilities(request_.providers);
  if (!asked) {
    Response response = failure(400, "", asked.error(), EndClass::refused);
    response.error = asked.error().message;  // `unknown_capabilities: …`: names, bounded
    return response;
  }
  capabilities_ = asked->united(domain::default_capabilities());
  if (grant_) capabilities_ = capabilities_.intersection(grant_->grant.capabilities);
  return std::nullopt;
}

async::Task<RunnerRole::Call::Refusal> RunnerRole::Call::open_secrets() {
  if (!request_.envelope) co_return std::nullopt;
  const auto refused = [this](const Error& error) {
    // The reference's status, except where waiting helps: Vault or the broker is away.
    const bool later = error.kind == Kind::unavailable;
    Response response = failure(later ? 503 : 500, "", error, end_of_refusal(error, vouched()));
    response.error = "secret_decrypt_failed";
    author_error_ = std::string(error.code);
    return response;
  };
  const bool wanted = capabilities_.contains(Capability::secrets_get) ||
                      capabilities_.contains(Capability::ui_proxy);
  if (!wanted) {
    const auto shape = domain::check_envelope(*request_.envelope, role_.use_.clock->wall(),
                                              role_.options_.envelopes);
    if (!shape) co_return refused(shape.error());
    request_.envelope.reset();
    co_return std::nullopt;
  }
  if (!request_.install) co_return refused({Kind::invalid, "runner.no_secrets", {}});
  if (role_.use_.secrets == nullptr) {
    co_return refused({Kind::internal, "runner.no_secrets", {}});
  }
  using Map = domain::SecretOpener::Map;
  const domain::EnvelopeBinding binding{request_.tenant, *request_.install};
  std::optional<Result<Map>> opened = role_.use_.secrets->open_at_once(*request_.envelope, binding);
  if (!opened) {
    if (Refusal crowded = may_wait()) co_return std::move(*crowded);
    opened = co_await async::await_callback<Map>([this, &binding](Callback<Map> done) {
      role_.use_.secrets->open(std::move(*request_.envelope), binding, std::move(done));
    });
  }
  request_.envelope.reset();
  if (!*opened) co_return refused(opened->error());
  secrets_ = std::move(**opened);
  co_return std::nullopt;
}

async::Task<Result<std::shared_ptr<engine::Component>>> RunnerRole::Call::load_once() {
  const SteadyTime begin = role_.use_.clock->steady();
  auto component = co_await load_component(role_.use_.engine, bundle_->hash(),
                                           bundle_->component_path().value_or(""), bundle_,
                                           request_.tenant.str(), role_.options_.cold_wait);
  cold_us_ += microseconds(begin, role_.use_.clock->steady());
  co_return component;
}

/// A bundle whose files somebody removed below us is fetched anew, once.
async::Task<RunnerRole::Call::Refusal> RunnerRole::Call::load() {
  component_ = role_.use_.engine->find_ready(bundle_->hash());
  if (component_) co_return std::nullopt;
  if (Refusal refused = may_wait()) co_return std::move(*refused);
  auto component = co_await load_once();
  if (!component && component.error().code == "engine.component_gone") {
    role_.use_.bundles->forget(bundle_);
    if (Refusal refused = co_await fetch_bundle()) co_return std::move(*refused);
    component = co_await load_once();
  }
  if (component) {
    component_ = std::move(*component);
    co_return std::nullopt;
  }
  const Error& error = component.error();
  author_error_ = error.message;
  if (error.code == "engine.cold" || error.code == "engine.overload") {
    co_return failure(503, execute_failed, error, EndClass::overload);
  }
  if (error.code == "engine.link_error") {
    co_return failure(500, execute_failed, error, EndClass::link_error);
  }
  if (error.kind == Kind::unavailable || error.kind == Kind::internal) {
    // With advice when to come back it is the machine that is busy, and nothing is broken.
    if (error.retry_after_s == 0) {
      co_return failure(500, "engine_init_failed: ", error, EndClass::platform);
    }
    co_return failure(503, "engine_init_failed: ", error, EndClass::overload);
  }
  co_return failure(500, execute_failed, error, EndClass::bad_component);
}

async::Task<ExecuteResponse> RunnerRole::Call::run() {
  const domain::RequestedLimits install = grant_ ? grant_->grant.limits : domain::RequestedLimits{};
  engine::Invocation invocation{
      .who = identity(),
      .tenant = request_.tenant,
      .install = request_.install,
      .request = request_,
      .capabilities = capabilities_,
      .egress = grant_ ? grant_->egress : role_.options_.drop_in_egress,
      .secrets = std::move(secrets_),
      .limits = domain::effective_limits(role_.options_.limits, install, request_.limits, !grant_)};
  request_.http.body.reset();
  outcome_ =
      co_await run_component(role_.use_.engine, std::move(component_), std::move(invocation));
  role_.series_.queue.observe(static_cast<double>(outcome_.queue_us) / 1e6);
  role_.series_.instantiate.observe(static_cast<double>(outcome_.instantiate_us) / 1e6);
  role_.series_.call.observe(static_cast<double>(outcome_.call_us) / 1e6);
  role_.series_.cold.observe(static_cast<double>(cold_us_) / 1e6);
  co_return answer_of(outcome_);
}

ExecuteResponse RunnerRole::Call::answer_of(engine::Outcome& outcome) {
  // An interim status, or none at all, is nothing that anybody could pass on.
  const std::uint16_t said = outcome.response.status;
  if (outcome.end == EndClass::ok && (said < 200 || said > 599)) {
    outcome.end = EndClass::guest_error;
    author_error_ = "the handler answered with the status " + std::to_string(said);
    return failure(domain::info(outcome.end).status, execute_failed,
                   {.code = "runner.bad_guest_status", .message = {}}, outcome.end);
  }
  const domain::EndClassInfo& end = domain::info(outcome.end);
  if (outcome.end == EndClass::ok) {
    return {.status = outcome.response.status,
            .headers = std::move(outcome.response.headers),
            .body = std::move(outcome.response.body),
            .error = {},
            .code = {},
            .end_class = std::string(end.name)};
  }
  author_error_ = outcome.message;
  const std::string limits = codes_of(outcome.limits);
  if (!limits.empty() && limits != end.code) author_error_ += " (" + limits + ")";
  if (!outcome.backtrace.empty()) author_error_ += "\n" + outcome.backtrace;
  const bool overload = outcome.end == EndClass::overload;
  const std::uint16_t status = overload && outcome.tenant_busy ? 429 : end.status;
  Error error{.code = end.code, .message = {}};
  if (overload) error.retry_after_s = std::max(1U, outcome.retry_after_s);
  if (overload && outcome.stopping) error.code = "runner.draining";
  return failure(status, execute_failed, error, outcome.end);
}

domain::ExecutionIdentity RunnerRole::Call::identity() const {
  return {.tenant = request_.tenant.str(),
          .extension = request_.extension.str(),
          .install = request_.install ? request_.install->str() : "",
          .version = request_.version ? request_.version->str() : "",
          .request_id = request_.request_id,
          .trace_id = trace_.trace_id,
          .span_id = trace_.parent_id,
          .parent_id = caller_span_,
          .sampled = trace_.sampled};
}

void RunnerRole::Call::conclude(const Response& response) {
  role_.count(response);
  const domain::ExecutionIdentity who = identity();
  const WallTime finished = role_.use_.clock->wall();
  const std::string limits = codes_of(outcome_.limits);
  const bool ours = response.end_class == domain::info(EndClass::platform).name;
  const bool refused = response.end_class == domain::info(EndClass::refused).name;
  const bool logged = response.end_class != domain::info(EndClass::ok).name ||
                      is_drawn(who.request_id, role_.options_.execution_log_sampling);
  if (logged) {
    role_.use_.log.emit(
        ours ? LogLevel::warn : LogLevel::info, "execution",
        {{"tenant", who.tenant},
         {"extension", who.extension},
         {"install", who.install},
         {"version", who.version},
         {"request_id", who.request_id},
         {"trace_id", who.trace_id},
         {"end_class", response.end_class},
         {"code", response.code},
         {"limits", limits},
         {"status", response.status},
         {"replayed", replayed_},
         {"duration_ms", (finished - started_).count()},
         {"total_us", microseconds(begun_, role_.use_.clock->steady())},
         {"grant_us", grant_us_},
         {"cold_us", cold_us_},
         {"queue_us", outcome_.queue_us},
         {"instantiate_us", outcome_.instantiate_us},
         {"call_us", outcome_.call_us},
         {"cpu_us", outcome_.cpu_us},
         {"peak_memory_bytes", outcome_.peak_memory_bytes},
         {"host_calls", outcome_.host_calls},
         {"host_bytes", outcome_.host_bytes},
         {"egress_bytes", outcome_.egress_bytes},
         {"reason", ours || refused ? std::string_view(author_error_) : std::string_view{}}});
  }
  // What an unauthorised caller claims is in the log; it is not that tenant's execution.
  if (!authorised_ || replayed_ || role_.use_.records == nullptr) return;
  // A gateway gives the same execution to another runner, whose record it is.
  if (request_.execution_id && response.code == "runner.draining") return;
  role_.use_.records->execution({.id = request_.execution_id
                                           ? *request_.execution_id
                                           : uuid_v7(*role_.use_.clock, *role_.use_.random),
                                 .who = who,
                                 .started = started_,
                                 .finished = finished,
                                 .end_class = response.end_class,
                                 .code = response.code,
                                 .status = response.status,
                                 .config_version = request_.config_version.value_or(""),
                                 .secrets_version = request_.secrets_version.value_or(""),
                                 .queue_us = outcome_.queue_us,
                                 .cold_us = cold_us_,
                                 .instantiate_us = outcome_.instantiate_us,
                                 .call_us = outcome_.call_us,
                                 .cpu_us = outcome_.cpu_us,
                                 .peak_memory_bytes = outcome_.peak_memory_bytes,
                                 .host_bytes = outcome_.host_bytes,
                                 .egress_bytes = outcome_.egress_bytes,
                                 .host_calls = outcome_.host_calls,
                                 .response_bytes = response.body ? response.body->size() : 0,
                                 .method = method_,
                                 .path = path_,
                                 .author_error = std::move(author_error_)});
}

}  // namespace alga::runner
