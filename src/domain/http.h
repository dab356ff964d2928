#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace alga::domain {

/// How many extensions stand behind a request: the egress of guests sets it, whatever the guest
/// says, and the gateway refuses what comes back too deep. Without it somebody else's request.
inline constexpr std::string_view depth_header = "x-alga-depth";
/// Deeper than anything that is let through.
inline constexpr std::uint32_t bottomless = 1'000;
/// 0 to 1000; none for anything else.
[[nodiscard]] std::optional<std::uint32_t> parse_depth(std::string_view text);

/// One header field; repeated names are repeated entries, in order.
struct Header {
  std::string name;
  std::string value;
};
using Headers = std::vector<Header>;

/// First value of `name` (ASCII case-insensitive), or none.
[[nodiscard]] inline std::optional<std::string_view> find_header(
    [[clang::lifetimebound]] const Headers& headers, std::string_view name) {
  for (const Header& header : headers) {
    if (iequals(header.name, name)) return std::string_view{header.value};
  }
  return std::nullopt;
}

/// The most fields of a message, and the most bytes of their names and values together.
struct HeaderLimits {
  std::uint32_t fields = 100;
  std::uint64_t bytes = 64U << 10U;
};

/// A request as a guest sends or receives it. `url` is path and query for an incoming request, an
/// absolute URL for an outgoing one. An absent body differs from an empty one.
struct HttpRequest {
  std::string method;
  std::string url;
  Headers headers;
  std::optional<std::string> body;
};

struct HttpResponse {
  std::uint16_t status = 0;
  Headers headers;
  std::optional<std::string> body;
};

/// RFC 9110 token: what a method or header name may consist of.
[[nodiscard]] bool is_http_token(std::string_view text);
/// A field value without CR, LF, NUL and other controls (tab allowed), not padded by blanks.
[[nodiscard]] bool is_header_value(std::string_view text);

}  // namespace alga::domain
