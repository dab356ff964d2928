#include "httpd/url.h"

#include <algorithm>
#include <cstdint>

#include "base/bytes.h"

namespace alga::httpd {
namespace {

/// The value of the escape at `at`, or -1.
int escape_at(std::string_view text, std::size_t at) {
  if (at + 2 >= text.size()) return -1;
  auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  const int high = digit(text[at + 1]);
  const int low = digit(text[at + 2]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

bool bare_in_path(char c) {
  const auto byte = static_cast<unsigned char>(c);
  if (byte <= 0x20 || byte >= 0x7F) return false;
  return !std::string_view("\"#<>?\\`{}").contains(c);
}

/// Form decoding of one name or value.
std::string form_decode(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const int value = text[i] == '%' ? escape_at(text, i) : -1;
    if (value >= 0) {
      result.push_back(static_cast<char>(value));
      i += 2;
    } else {
      result.push_back(text[i] == '+' ? ' ' : text[i]);
    }
  }
  return result;
}

std::unexpected<Error> bad_path(std::string message) {
  return fail(Kind::invalid, "http.invalid_path", std::move(message));
}

}  // namespace

std::optional<std::string> percent_decode(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      result.push_back(text[i]);
      continue;
    }
    const int value = escape_at(text, i);
    if (value < 0) return std::nullopt;
    result.push_back(static_cast<char>(value));
    i += 2;
  }
  return result;
}

Status check_path(std::string_view path) {
  if (!path.starts_with('/')) return bad_path("the path does not begin with a slash");
  std::string decoded;
  decoded.reserve(path.size());
  for (std::size_t i = 0; i < path.size(); ++i) {
    if (path[i] != '%') {
      if (!bare_in_path(path[i])) return bad_path("the path has a character that must be escaped");
      decoded.push_back(path[i]);
      continue;
    }
    const int value = escape_at(path, i);
    if (value < 0) return bad_path("the path has a malformed escape");
    if (value == '/' || value == '\\' || value < 0x20 || value == 0x7F) {
      return bad_path("the path has an escape that is not allowed");
    }
    decoded.push_back(static_cast<char>(value));
    i += 2;
  }
  // No escape makes a slash, so the segments of the decoded path are those of the path.
  std::string_view rest = std::string_view(decoded).substr(1);
  while (true) {
    const std::size_t slash = rest.find('/');
    const std::string_view segment = rest.substr(0, slash);
    if (segment == "." || segment == "..") return bad_path("the path has a dot segment");
    if (slash == std::string_view::npos) break;
    rest.remove_prefix(slash + 1);
  }
  if (!is_utf8(decoded)) return bad_path("the path is not UTF-8");
  return {};
}

Status check_query(std::string_view query) {
  const bool fine = std::ranges::all_of(query, [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte > 0x20 && byte < 0x7F && c != '#';
  });
  if (!fine) {
    return fail(Kind::invalid, "http.invalid_query",
                "the query has a character that must be escaped");
  }
  return {};
}

std::vector<std::pair<std::string, std::string>> parse_query(std::string_view query,
                                                             std::size_t limit) {
  std::vector<std::pair<std::string, std::string>> pairs;
  while (!query.empty() && pairs.size() < limit) {
    const std::size_t end = std::min(query.find('&'), query.size());
    const std::string_view pair = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    if (pair.empty()) continue;
    const std::size_t equals = pair.find('=');
    const std::string_view value =
        equals == std::string_view::npos ? std::string_view{} : pair.substr(equals + 1);
    pairs.emplace_back(form_decode(pair.substr(0, equals)), form_decode(value));
  }
  return pairs;
}

}  // namespace alga::httpd
