#include "telemetry/json_text.h"

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/bytes.h"

namespace alga::telemetry {
namespace {

struct Decoded {
  char32_t point;
  std::size_t length;  // 0: not UTF-8
};

/// The character at the beginning of `text`, which is not empty.
Decoded decode(std::string_view text) {
  const auto first = static_cast<unsigned char>(text[0]);
  std::size_t length = 1;
  char32_t point = first;
  if (first >= 0xF0) {
    length = 4;
    point = first & 0x07U;
  } else if (first >= 0xE0) {
    length = 3;
    point = first & 0x0FU;
  } else if (first >= 0x80) {
    length = 2;
    point = first & 0x1FU;
  }
  if (length > text.size() || !is_utf8(text.substr(0, length))) return {0xFFFD, 0};
  for (std::size_t i = 1; i < length; ++i) {
    point = (point << 6U) | (static_cast<unsigned char>(text[i]) & 0x3FU);
  }
  return {point, length};
}

bool needs_escape(char32_t point) {
  return point < 0x20 || (point >= 0x7F && point <= 0x9F) || point == 0x061C ||
         (point >= 0x200E && point <= 0x200F) || (point >= 0x2028 && point <= 0x202E) ||
         (point >= 0x2066 && point <= 0x2069) || point == 0xFEFF;
}

void append_escape(std::string& out, char32_t point) {
  constexpr std::string_view digits = "0123456789abcdef";
  switch (point) {
    case '\n': out += "\\n"; return;
    case '\r': out += "\\r"; return;
    case '\t': out += "\\t"; return;
    default: break;
  }
  out += "\\u";
  for (unsigned shift = 16; shift > 0;) {
    shift -= 4;
    out += digits[(point >> shift) & 0x0FU];
  }
}

}  // namespace

void append_json_string(std::string& out, std::string_view text, std::size_t limit) {
  const bool cut = text.size() > limit;
  if (cut) text = utf8_prefix(text, limit);
  out += '"';
  while (!text.empty()) {
    const char byte = text[0];
    if (byte >= 0x20 && byte < 0x7F) {
      if (byte == '"' || byte == '\\') out += '\\';
      out += byte;
      text.remove_prefix(1);
      continue;
    }
    const Decoded character = decode(text);
    if (character.length == 0) {
      out += "\xEF\xBF\xBD";
      text.remove_prefix(1);
      continue;
    }
    if (needs_escape(character.point)) {
      append_escape(out, character.point);
    } else {
      out += text.substr(0, character.length);
    }
    text.remove_prefix(character.length);
  }
  if (cut) out += "\xE2\x80\xA6";
  out += '"';
}

}  // namespace alga::telemetry
