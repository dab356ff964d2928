#include "gateway/http_runner.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <charconv>
#include <limits>

#include "base/bytes.h"
#include "domain/end_class.h"
#include "domain/envelope.h"
#include "httpd/url.h"
#include "json/decode.h"

namespace alga::gateway {
namespace {

using domain::ExecuteRequest;
using domain::ExecuteResponse;

constexpr std::chrono::milliseconds kDefaultLimit{30'000};
constexpr int kAttempts = 3;
/// What we tell a caller to wait at most, whatever a runner says.
constexpr std::uint32_t kLongestWait = 3600;

boost::json::object string_map(const std::map<std::string, std::string>& map) {
  boost::json::object object;
  for (const auto& [key, value] : map) object[key] = value;
  return object;
}

template <class T>
void put(boost::json::object& object, std::string_view name, const std::optional<T>& value) {
  if (value) object[name] = *value;
}

boost::json::object context_to_json(const ExecuteRequest& request) {
  boost::json::object context;
  context["request_id"] = request.request_id;
  context["tenant_id"] = request.tenant.str();
  context["extension_id"] = request.extension.str();
  if (request.install) context["install_id"] = request.install->str();
  if (request.version) context["version_id"] = request.version->str();
  context["content_hash"] = request.content_hash.prefixed();
  context["config"] = string_map(request.config);
  return context;
}

boost::json::object http_to_json(const domain::HttpRequest& http) {
  boost::json::object object;
  const std::size_t mark = http.url.find('?');
  object["method"] = http.method;
  object["path"] = http.url.substr(0, mark);
  object["url"] = http.url;
  auto& query = object["query"].emplace_object();
  if (mark != std::string::npos) {
    for (auto& [name, value] : httpd::parse_query(http.url.substr(mark + 1))) query[name] = value;
  }
  auto& map = object["headers"].emplace_object();
  auto& list = object["header_list"].emplace_array();
  for (const domain::Header& header : http.headers) {
    map[to_lower(header.name)] = header.value;
    list.push_back(boost::json::array{header.name, header.value});
  }
  if (http.body) object["body_b64"] = base64_encode(as_bytes(*http.body));
  return object;
}

boost::json::object user_to_json(const domain::UserIdentity& user) {
  boost::json::object object;
  object["user_id"] = user.user_id;
  object["user_email"] = user.user_email;
  object["user_name"] = user.user_name;
  object["user_type"] = user.user_type;
  object["client_name"] = user.client_name;
  put(object, "client_id", user.client_id);
  object["additional_fields"] = string_map(user.additional_fields);
  return object;
}

std::unexpected<Error> malformed(std::string what) {
  return fail(Kind::bad_gateway, "runner.malformed_answer",
              "the answer of the runner: " + std::move(what));
}

Result<domain::Headers> headers_from_json(json::Object& root) {
  domain::Headers headers;
  if (const json::Value* list = root.raw("header_list"); list != nullptr && list->is_array()) {
    for (const json::Value& pair : list->get_array()) {
      const bool fits = pair.is_array() && pair.get_array().size() == 2 &&
                        pair.get_array()[0].is_string() && pair.get_array()[1].is_string();
      if (!fits) return malformed("header_list");
      headers.push_back({std::string(pair.get_array()[0].get_string()),
                         std::string(pair.get_array()[1].get_string())});
    }
    return headers;
  }
  auto map = root.string_map("headers");
  if (!map) return malformed("headers");
  for (auto& [name, value] : *map) headers.push_back({name, std::move(value)});
  return headers;
}

ExecuteResponse failed(std::uint16_t status, std::string code, const std::string& message) {
  return {.status = status,
          .headers = {},
          .error = "execute_failed: " + message,
          .code = std::move(code),
          .end_class = "platform"};
}

/// When to come back, of a runner or of what balances them: seconds, within bounds; a date or
/// anything else counts as soon.
std::uint32_t retry_after(const domain::HttpResponse& response) {
  const auto text = domain::find_header(response.headers, "retry-after").value_or("");
  std::uint32_t seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error == std::errc::result_out_of_range) return kLongestWait;
  if (error != std::errc{} || end != text.data() + text.size()) return 1;
  return std::clamp(seconds, 1U, kLongestWait);
}

/// The runner refused before it ran anything: 401, 413, 429, 503 and the like. What its caller can
/// do about it stays as it is: send less, or wait.
ExecuteResponse refused(const domain::HttpResponse& response) {
  const bool wait = response.status == 429 || response.status == 503;
  const bool too_large = response.status == 413;
  ExecuteResponse answer = failed(wait || too_large ? response.status : 502, "runner.refused",
                                  "the runner answered " + std::to_string(response.status));
  if (too_large) answer.end_class = domain::info(domain::EndClass::refused).name;
  const auto document = json::parse(response.body.value_or(""));
  if (document && document->is_object()) {
    const auto& root = document->get_object();
    const auto* error = root.if_contains("error");
    const auto* code = root.if_contains("code");
    if (code == nullptr && error != nullptr && error->is_object()) {
      code = error->get_object().if_contains("code");
    }
    if (code != nullptr && code->is_string() && code->get_string().size() <= 64) {
      answer.code = std::string(code->get_string());
    }
  }
  if (wait) answer.retry_after_s = retry_after(response);
  return answer;
}

}  // namespace

json::Value execute_request_to_json(const ExecuteRequest& request) {
  boost::json::object body;
  body["context"] = context_to_json(request);
  body["http"] = http_to_json(request.http);
  auto& limits = body["limits"].emplace_object();
  put(limits, "timeout_ms", request.limits.timeout_ms);
  put(limits, "memory_mb", request.limits.memory_mb);
  put(limits, "fuel", request.limits.fuel);
  if (request.envelope) body["secret_envelope"] = domain::envelope_to_json(*request.envelope);
  auto& providers = body["providers"].emplace_array();
  for (const std::string& provider : request.providers) providers.emplace_back(provider);
  if (request.user) body["user"] = user_to_json(*request.user);
  return body;
}

Result<ExecuteResponse> execute_response_from_json(const json::Value& value) {
  auto root = json::Object::of(value);
  if (!root) return malformed("not an object");
  const auto status = root->integer("status", 0, 999);
  if (!status) return malformed("status");
  TRY(domain::Headers headers, headers_from_json(*root));
  const auto body = root->optional_string("body_b64");
  auto error = root->optional_string("error");
  auto code = root->optional_string("code", 64);
  auto end_class = root->optional_string("end_class", 64);
  const auto retry =
      root->optional_integer("retry_after_s", 0, std::numeric_limits<std::uint32_t>::max());
  if (!body || !error || !code || !end_class || !retry) return malformed("wrong types");

  ExecuteResponse response{
      .status = static_cast<std::uint16_t>(*status),
      .headers = std::move(headers),
      .error = error->value_or(""),
      .code = code->value_or(""),
      .retry_after_s = std::min(static_cast<std::uint32_t>(retry->value_or(0)), kLongestWait),
      .end_class = end_class->value_or("")};
  if (const auto& encoded = *body; encoded) {
    response.body = base64_decode(*encoded);
    if (!response.body) return malformed("body_b64");
  }
  return response;
}

HttpRunner::HttpRunner(Options options, egress::HttpClient& client)
    : options_(std::move(options)), client_(client) {
  while (options_.url.ends_with('/')) options_.url.pop_back();
}

Result<egress::ClientRequest> HttpRunner::prepare(const ExecuteRequest& request) const {
  egress::ClientRequest outgoing{.method = "POST",
                                 .url = options_.url + "/v1/execute",
                                 .headers = {{"content-type", "application/json"},
                                             {"accept", "application/json"},
                                             {"x-request-id", request.request_id},
                                             {"x-alga-tenant", request.tenant.str()},
                                             {"x-alga-extension", request.extension.str()},
                                             {"x-ext-registry-id", request.extension.str()}},
                                 .max_response_bytes = options_.max_response_bytes,
                                 .tls = options_.tls};
  const auto add = [&outgoing](std::string name, const std::optional<std::string>& value) {
    if (value && !value->empty()) outgoing.headers.push_back({std::move(name), *value});
  };
  if (request.install) add("x-ext-install-id", request.install->str());
  if (request.version) add("x-ext-version-id", request.version->str());
  add("x-ext-config-version", request.config_version);
  add("x-ext-secrets-version", request.secrets_version);
  add("x-alga-grant", request.grant);
  add("traceparent", request.traceparent);
  add("x-idempotency-key", request.idempotency_key);
  add("x-alga-execution", request.execution_id);
  if (request.depth != 0) add(std::string(domain::depth_header), std::to_string(request.depth));
  if (request.envelope) add("x-ext-secrets-envelope", domain::envelope_header(*request.envelope));
  if (options_.service_token) {
    TRY(const Secret token, options_.service_token());
    outgoing.headers.push_back({"x-runner-service-token", std::string(token.reveal())});
  }
  const auto limit = request.limits.timeout_ms
                         ? std::chrono::milliseconds(*request.limits.timeout_ms)
                         : kDefaultLimit;
  outgoing.timeout = limit + options_.grace;
  outgoing.body = boost::json::serialize(execute_request_to_json(request));
  return outgoing;
}

async::Task<ExecuteResponse> HttpRunner::execute(ExecuteRequest request) {
  // It closes its connection, so that the next attempt is a new one, to whoever takes connections.
  for (int attempt = 1;; ++attempt) {
    ExecuteResponse answer = co_await send(&request);
    const bool ends = answer.status == 503 && answer.code == "runner.draining";
    if (!ends || attempt == kAttempts) co_return std::move(answer);
  }
}

async::Task<ExecuteResponse> HttpRunner::send(const ExecuteRequest* request) {
  auto outgoing = prepare(*request);
  if (!outgoing) co_return failed(502, "runner.no_token", std::string(outgoing.error().code));
  auto response = co_await client_.fetch(std::move(*outgoing));
  if (!response) {
    const bool timeout = response.error().kind == Kind::timeout;
    ExecuteResponse answer =
        failed(timeout ? 504 : 502, timeout ? "runner.timeout" : "runner.unreachable",
               std::string(response.error().code));
    if (timeout) answer.end_class = domain::info(domain::EndClass::wall_limit).name;
    co_return answer;
  }
  if (response->status != 200) co_return refused(*response);
  const json::ParseLimits limits{.max_bytes = options_.max_response_bytes, .max_depth = 8};
  const auto document = json::parse(response->body.value_or(""), limits);
  if (!document) co_return failed(502, "runner.malformed_answer", "not JSON");
  auto answer = execute_response_from_json(*document);
  if (!answer) co_return failed(502, std::string(answer.error().code), answer.error().message);
  co_return std::move(*answer);
}

}  // namespace alga::gateway
