#include "gateway/answers.h"

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include "gateway/headers.h"

namespace alga::gateway {
namespace {

/// The words of the reference's gateways for what we refuse.
std::string_view reference_word(std::string_view code) {
  if (code == "gateway.policy_unavailable") return "access_policy_unavailable";
  if (code == "limit.request_body") return "payload_too_large";
  const std::size_t dot = code.find('.');
  return code.starts_with("gateway.") ? code.substr(dot + 1) : code;
}

httpd::Response answer(std::uint16_t status, std::string_view word, std::string_view code,
                       std::string_view message, std::string_view request_id) {
  boost::json::object body;
  body["error"] = word;
  body["code"] = code;
  if (!message.empty()) body["message"] = message;
  body["request_id"] = request_id;
  body["requestId"] = request_id;
  httpd::Response response = httpd::json_response(status, boost::json::serialize(body));
  response.set("cache-control", "no-store");
  return response;
}

std::string_view word_for(std::uint16_t status) {
  switch (status) {
    case 413: return "payload_too_large";
    case 429: return "rate_limited";
    case 503: return "overloaded";
    case 504: return "gateway_timeout";
    default: return "bad_gateway";
  }
}

bool is_timeout(domain::EndClass end) {
  return end == domain::EndClass::wall_limit || end == domain::EndClass::cpu_limit;
}

Ending failed(const domain::ExecuteResponse& response, std::string_view request_id) {
  const auto end = parse_end_class(response.end_class).value_or(domain::EndClass::platform);
  std::uint16_t status = domain::info(end).gateway_status;
  // The runner's own refusals (an envelope, a grant, a limit) say by their status who is to wait,
  // and who is to send less.
  const bool callers = response.status == 413 || response.status == 429 || response.status == 503;
  const bool ran = end != domain::EndClass::platform && end != domain::EndClass::refused;
  if (!ran && callers) status = response.status;
  const std::string code =
      response.code.empty() ? std::string("gateway.bad_gateway") : response.code;
  Ending ending{.response = answer(status, word_for(status), code, {}, request_id)};
  if (response.retry_after_s > 0) {
    ending.response.set("retry-after", std::to_string(response.retry_after_s));
  }
  ending.status = is_timeout(end) ? "timeout" : "error";
  ending.error = is_timeout(end) ? "timeout" : code;
  return ending;
}

bool may_have_body(std::uint16_t status) { return status != 204 && status != 205 && status != 304; }

}  // namespace

std::optional<domain::EndClass> parse_end_class(std::string_view name) {
  for (int i = 0; i <= static_cast<int>(domain::EndClass::platform); ++i) {
    const auto end = static_cast<domain::EndClass>(i);
    if (domain::info(end).name == name) return end;
  }
  return std::nullopt;
}

httpd::Response refusal(const Error& error, std::string_view request_id) {
  const auto status = static_cast<std::uint16_t>(http_status(error.kind));
  // Messages of server-side trouble may name hosts and paths: those stay in the log.
  const std::string_view message = status < 500 ? std::string_view(error.message) : "";
  httpd::Response response =
      answer(status, reference_word(error.code), error.code, message, request_id);
  if (error.retry_after_s > 0) response.set("retry-after", std::to_string(error.retry_after_s));
  if (status == 401) response.set("www-authenticate", "Bearer");
  return response;
}

Ending conclude(domain::ExecuteResponse response, std::string_view request_id) {
  const bool guest_answered = response.error.empty() && response.code.empty() &&
                              (response.end_class.empty() || response.end_class == "ok");
  if (!guest_answered) return failed(response, request_id);
  if (response.status < 200 || response.status > 599) {
    return {.response = answer(502, "bad_gateway", "gateway.bad_guest_status", {}, request_id),
            .status = "error",
            .error = "invalid_response"};
  }
  Ending ending;
  ending.response.status = response.status;
  ending.response.headers = public_response_headers(response.headers);
  if (response.body && may_have_body(response.status)) {
    ending.response.body = std::move(*response.body);
  }
  const bool good = response.status < 400;
  ending.status = good ? "ok" : "upstream_error";
  ending.error = good ? "" : "extension_error_status";
  ending.repeatable = response.status < 500;
  return ending;
}

Ending conclude_timeout(std::string_view request_id) {
  return {.response = answer(504, "gateway_timeout", "gateway.timeout", {}, request_id),
          .status = "timeout",
          .error = "timeout"};
}

}  // namespace alga::gateway
