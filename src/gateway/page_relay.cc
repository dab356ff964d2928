#include "gateway/page_relay.h"

#include <array>
#include <string_view>
#include <utility>

namespace alga::gateway {
namespace {

constexpr std::string_view pattern = "/runner/ext-ui/{extension}/{hash}/{path...}";

/// Of the caller's headers: the list of the earlier gateway, the tenant, and where the page is.
constexpr std::array<std::string_view, 9> forwarded{
    "accept",   "accept-encoding", "accept-language", "if-modified-since", "if-none-match",
    "if-range", "range",           "user-agent",      "x-tenant-id"};
/// Of the runner's.
constexpr std::array<std::string_view, 13> returned{"accept-ranges",
                                                    "cache-control",
                                                    "content-encoding",
                                                    "content-range",
                                                    "content-security-policy",
                                                    "content-type",
                                                    "etag",
                                                    "last-modified",
                                                    "location",
                                                    "referrer-policy",
                                                    "retry-after",
                                                    "vary",
                                                    "x-content-type-options"};

httpd::Response unreachable(const Error& error, std::string_view request_id) {
  if (error.code == "egress.timeout") {
    return httpd::error_response({Kind::timeout, "gateway.runner_timeout", "the runner is late"},
                                 request_id);
  }
  return httpd::error_response(
      {Kind::bad_gateway, "gateway.runner_unreachable", "the runner cannot be reached"},
      request_id);
}

}  // namespace

PageRelay::PageRelay(Options options, egress::HttpClient& client)
    : options_(std::move(options)), client_(client) {}

void PageRelay::add_routes(httpd::Router& router) {
  // HEAD falls back to GET: the server leaves the body away.
  router.add("GET", std::string(pattern),
             [this](httpd::Request request) { return relay(std::move(request)); });
}

async::Task<httpd::Response> PageRelay::relay(httpd::Request request) {
  egress::ClientRequest asked{.method = "GET",
                              .url = options_.url + request.path,
                              .headers = {{"x-request-id", request.request_id}},
                              .body = {},
                              .timeout = options_.timeout,
                              .max_response_bytes = options_.max_bytes,
                              .tls = options_.tls};
  if (!request.query.empty()) asked.url += '?' + request.query;
  for (const std::string_view name : forwarded) {
    if (const auto value = request.header(name)) {
      asked.headers.push_back({std::string(name), std::string(*value)});
    }
  }
  auto answer = co_await client_.fetch(std::move(asked));
  if (!answer) co_return unreachable(answer.error(), request.request_id);
  httpd::Response response;
  response.status = answer->status;
  for (const std::string_view name : returned) {
    if (const auto value = domain::find_header(answer->headers, name)) {
      response.set(name, std::string(*value));
    }
  }
  response.body = std::move(answer->body).value_or("");
  co_return response;
}

}  // namespace alga::gateway
