#include "runner/http_ui_proxy.h"

#include <algorithm>
#include <utility>

#include "base/bytes.h"
#include "httpd/url.h"

namespace alga::runner {
namespace {

bool is_path_character(char c) {
  const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  return letter || std::string_view("-._~!$&'()*+,;=:@").contains(c);
}

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }

std::string escaped(char c) {
  static constexpr std::string_view digits = "0123456789ABCDEF";
  const auto byte = static_cast<unsigned char>(c);
  return {'%', digits[byte >> 4U], digits[byte & 15U]};
}

/// None for a segment that is not one, however it is spelt.
std::optional<std::string> encode_segment(std::string_view segment) {
  // A percent sign that begins no escape stands for itself.
  const std::string meant = httpd::percent_decode(segment).value_or(std::string(segment));
  const bool leads_elsewhere =
      meant == "." || meant == ".." ||
      std::ranges::any_of(meant, [](char c) { return c == '/' || c == '\\' || is_control(c); });
  if (leads_elsewhere) return std::nullopt;
  std::string out;
  for (const char c : meant) {
    if (is_path_character(c)) {
      out += c;
    } else {
      out += escaped(c);
    }
  }
  return out;
}

std::unexpected<Error> bad_request(const char* why) {
  return fail(Kind::invalid, "ui_proxy.bad_request", why);
}

}  // namespace

std::optional<std::string> encode_route(std::string_view route) {
  route = trim(route);
  if (route.empty()) return std::nullopt;
  const std::size_t mark = route.find('?');
  std::string_view path = route.substr(0, mark);
  if (path.starts_with('/')) path.remove_prefix(1);
  std::string out;
  while (true) {
    const std::size_t slash = path.find('/');
    const auto segment = encode_segment(path.substr(0, slash));
    if (!segment) return std::nullopt;
    out += '/';
    out += *segment;
    if (slash == std::string_view::npos) break;
    path.remove_prefix(slash + 1);
  }
  if (mark == std::string_view::npos) return out;
  const std::string_view query = route.substr(mark);
  if (!httpd::check_query(query.substr(1))) return std::nullopt;
  return out.append(query);
}

Result<std::string> ui_proxy_answer(Result<domain::HttpResponse> response) {
  if (!response && response.error().code == "egress.too_large") {
    return fail(Kind::too_large, "ui_proxy.too_large", response.error().message);
  }
  if (!response) return fail(Kind::unavailable, "ui_proxy.unavailable", response.error().message);
  const std::uint16_t status = response->status;
  if (status >= 200 && status < 300) return std::move(response->body).value_or("");
  const std::string said = "the host application answered " + std::to_string(status);
  if (status == 401 || status == 403 || status == 429) {
    return fail(Kind::denied, "ui_proxy.denied", said);
  }
  if (status == 404) return fail(Kind::not_found, "ui_proxy.route_not_found", said);
  if (status >= 400 && status < 500) return fail(Kind::invalid, "ui_proxy.bad_request", said);
  return fail(Kind::bad_gateway, "ui_proxy.unavailable", said);
}

HttpUiProxy::HttpUiProxy(Options options, egress::HttpClient& client, const Clock& clock)
    : options_(std::move(options)), client_(client), clock_(clock) {
  while (options_.base_url.ends_with('/')) options_.base_url.pop_back();
}

Result<egress::ClientRequest> HttpUiProxy::prepare(const Call& call) const {
  if (options_.base_url.empty()) {
    return fail(Kind::not_found, "ui_proxy.route_not_found", "no host application is configured");
  }
  if (call.who.tenant.empty() || call.who.extension.empty()) {
    return fail(Kind::internal, "ui_proxy.unavailable", "the execution has no identity");
  }
  const auto route = encode_route(call.route);
  if (!route) return bad_request("the route is not valid");
  const auto left =
      std::chrono::duration_cast<std::chrono::milliseconds>(call.deadline - clock_.steady());
  if (left.count() <= 0) {
    return fail(Kind::timeout, "ui_proxy.unavailable", "no time is left for the call");
  }

  const std::string own = route->starts_with("/api/") ? "" : "/" + call.who.extension;
  egress::ClientRequest request{
      .method = call.payload ? "POST" : "GET",
      .url = options_.base_url + own + *route,
      .headers = {{"x-alga-tenant", call.who.tenant},
                  {"x-alga-extension", call.who.extension},
                  {std::string(domain::depth_header), std::to_string(call.depth)}},
      .body = call.payload,
      .timeout = std::min(options_.timeout, left),
      .max_response_bytes = std::min(options_.max_response_bytes, call.max_response_bytes),
      .tls = options_.tls};
  const auto add = [&request](std::string name, std::string_view value) {
    // A value that is no header value is left out: it cannot become another header.
    if (!value.empty() && domain::is_header_value(value)) {
      request.headers.push_back({std::move(name), std::string(value)});
    }
  };
  if (call.payload) add("content-type", "application/json");
  add("x-request-id", call.who.request_id.empty() ? "ui-proxy-call" : call.who.request_id);
  add("x-ext-install-id", call.who.install);
  add("x-ext-version-id", call.who.version);
  if (call.user) {
    add("x-user-id", call.user->user_id);
    add("x-user-email", call.user->user_email);
  }
  if (call.secrets) add("x-api-key", call.secrets->reveal("api_key").value_or(""));
  return request;
}

std::uint64_t HttpUiProxy::call(Call call, Callback<std::string> done) {
  auto request = prepare(call);
  if (!request) {
    done(fail(std::move(request).error()));
    return 0;  // no request has that number
  }
  return client_.send(std::move(*request),
                      [done = std::move(done)](Result<domain::HttpResponse> response) mutable {
                        done(ui_proxy_answer(std::move(response)));
                      });
}

}  // namespace alga::runner
