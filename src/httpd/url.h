#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace alga::httpd {

/// Decodes `%XX`; none when an escape is cut short or not hexadecimal.
[[nodiscard]] std::optional<std::string> percent_decode(std::string_view text);

/// Whether a request path may be routed: begins with `/`, consists of printable ASCII that RFC 3986
/// or browsers leave bare, every escape is well-formed and stands for well-formed UTF-8, no escaped
/// or bare backslash, control character or NUL, no escaped slash, no segment that is `.` or `..`
/// however it is spelt. Error: `http.invalid_path` (invalid).
[[nodiscard]] Status check_path(std::string_view path);

/// Printable ASCII without blanks and `#`. Error: `http.invalid_query` (invalid).
[[nodiscard]] Status check_query(std::string_view query);

/// The pairs of an application/x-www-form-urlencoded query, decoded, in order. Like browsers do, a
/// malformed escape stays as it is. At most `limit` pairs are looked at.
[[nodiscard]] std::vector<std::pair<std::string, std::string>> parse_query(
    std::string_view query, std::size_t limit = 1000);

}  // namespace alga::httpd
