#include "egress/outgoing_headers.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

namespace alga::egress {
namespace {

std::unexpected<Error> invalid(std::string message) {
  return fail(Kind::invalid, "egress.invalid_request", std::move(message));
}

bool is_ours(std::string_view name) {
  constexpr std::array<std::string_view, 11> names{
      "connection", "content-length", "expect",   "host",    "http2-settings",   "keep-alive",
      "te",         "trailer",        "trailers", "upgrade", "transfer-encoding"};
  const std::string lower = to_lower(name);
  return lower == domain::depth_header || lower.starts_with("proxy-") ||
         std::ranges::find(names, lower) != names.end();
}

/// Names that the `connection` fields declare to be for one hop only.
std::vector<std::string> connection_names(const domain::Headers& headers) {
  std::vector<std::string> names;
  for (const domain::Header& field : headers) {
    if (!iequals(field.name, "connection")) continue;
    std::string_view list = field.value;
    while (!list.empty()) {
      const std::size_t comma = std::min(list.find(','), list.size());
      names.push_back(to_lower(trim(list.substr(0, comma))));
      list.remove_prefix(std::min(comma + 1, list.size()));
    }
  }
  return names;
}

}  // namespace

Result<domain::Headers> outgoing_headers(const domain::Headers& headers,
                                         domain::HeaderLimits limits) {
  if (headers.size() > limits.fields) {
    return fail(Kind::too_large, "egress.too_many_headers",
                "the request has more header fields than the limit");
  }
  const std::vector<std::string> named = connection_names(headers);
  domain::Headers result;
  std::uint64_t bytes = 0;
  for (const domain::Header& field : headers) {
    if (!domain::is_http_token(field.name)) return invalid("a header has a malformed name");
    if (!domain::is_header_value(field.value)) {
      return invalid("the header " + field.name.substr(0, 64) + " has a malformed value");
    }
    bytes += field.name.size() + field.value.size();
    if (bytes > limits.bytes) {
      return fail(Kind::too_large, "egress.headers_too_large",
                  "the header fields of the request are larger than the limit");
    }
    if (is_ours(field.name)) continue;
    if (std::ranges::find(named, to_lower(field.name)) != named.end()) continue;
    result.push_back(field);
  }
  return result;
}

Result<std::string> outgoing_method(std::string_view method) {
  if (!domain::is_http_token(method) || method.size() > 32) return invalid("malformed method");
  std::string upper(method);
  std::ranges::transform(upper, upper.begin(), [](char c) {
    return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  });
  if (upper == "CONNECT" || upper == "TRACE" || upper == "TRACK") {
    return invalid("the method is not allowed");
  }
  return upper;
}

}  // namespace alga::egress
