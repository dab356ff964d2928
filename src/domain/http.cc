#include "domain/http.h"

#include <algorithm>
#include <charconv>

namespace alga::domain {

bool is_http_token(std::string_view text) {
  constexpr std::string_view punctuation = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::ranges::all_of(text, [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           punctuation.contains(c);
  });
}

bool is_header_value(std::string_view text) {
  if (trim(text).size() != text.size()) return false;
  return std::ranges::all_of(text, [](char c) {
    auto byte = static_cast<unsigned char>(c);
    return byte == '\t' || (byte >= 0x20 && byte != 0x7F);
  });
}

std::optional<std::uint32_t> parse_depth(std::string_view text) {
  std::uint32_t depth = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), depth);
  const bool whole = error == std::errc{} && end == text.data() + text.size();
  if (!whole || depth > bottomless) return std::nullopt;
  return depth;
}

}  // namespace alga::domain
