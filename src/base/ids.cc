#include "base/ids.h"

#include <algorithm>

#include "base/bytes.h"

namespace alga {

bool is_identifier(std::string_view text) {
  auto alphanumeric = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  if (text.empty() || text.size() > 128 || !alphanumeric(text.front())) return false;
  if (text.find("..") != std::string_view::npos) return false;
  return std::ranges::all_of(
      text, [&](char c) { return alphanumeric(c) || c == '.' || c == '_' || c == '-'; });
}

std::optional<ContentHash> ContentHash::parse(std::string_view text) {
  if (text.starts_with("sha256:")) text.remove_prefix(7);
  if (text.size() != 64 || !hex_decode(text)) return std::nullopt;
  return ContentHash{to_lower(text)};
}

}  // namespace alga
