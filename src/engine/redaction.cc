#include "engine/redaction.h"

#include <algorithm>
#include <cstddef>

#include "base/bytes.h"
#include "engine/guest_log.h"

namespace alga::engine {
namespace {

constexpr std::size_t longest_shown = 200;
/// Guests choose the lengths; what comes later is not looked at.
constexpr std::size_t longest_read = 2048;
/// From here on letters and digits together are a token and no name.
constexpr std::size_t shortest_token = 16;
constexpr std::size_t longest_word = 32;
constexpr std::ptrdiff_t most_digits = 3;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
bool is_letter(char c) { return is_upper(c) || (c >= 'a' && c <= 'z'); }
bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }
bool joins_words(char c) { return c == '-' || c == '_' || c == '.' || c == ':'; }

/// `v1`, `v2.1`
bool is_version(std::string_view segment) {
  if (segment.size() < 2 || segment.size() > 6 || segment.front() != 'v') return false;
  return std::ranges::all_of(segment.substr(1), [](char c) { return is_digit(c) || c == '.'; });
}

/// Whether one of the parts between `-`, `_`, `.` and `:` is a number: `customer-42`.
bool has_number(std::string_view segment) {
  bool number = true;
  std::size_t length = 0;
  for (const char c : segment) {
    if (joins_words(c)) {
      if (number && length > 0) return true;
      number = true;
      length = 0;
    } else {
      number = number && is_digit(c);
      ++length;
    }
  }
  return number && length > 0;
}

/// `4QE`, `NffrF2Uf`: words have their digits at their end.
bool mixes(std::string_view segment) {
  if (std::ranges::none_of(segment, is_upper)) return false;
  for (std::size_t i = 1; i < segment.size(); ++i) {
    if (is_digit(segment[i - 1]) && is_letter(segment[i])) return true;
  }
  return false;
}

bool is_identifier(std::string_view segment) {
  // Escapes, `@`, `=` and letters of other alphabets are not what names of resources are of.
  const bool word = std::ranges::all_of(
      segment, [](char c) { return is_letter(c) || is_digit(c) || joins_words(c); });
  if (!word || segment.size() > longest_word) return true;
  if (is_version(segment)) return false;
  const std::ptrdiff_t digits = std::ranges::count_if(segment, is_digit);
  if (digits == 0) return false;
  const bool hex = segment.size() >= 8 && std::ranges::all_of(segment, is_hex);
  return digits > most_digits || segment.size() >= shortest_token || hex || has_number(segment) ||
         mixes(segment);
}

}  // namespace

std::string redact(std::string_view text) {
  if (text.empty()) return "<empty>";
  if (text.size() <= 4) return "***";
  std::string_view head = utf8_prefix(text, 2);
  std::string_view tail = text.substr(text.size() - 2);
  return std::string(head) + "…" + (is_utf8(tail) ? std::string(tail) : std::string("**"));
}

std::string redact_path(std::string_view path) {
  bool cut = path.size() > longest_read;
  if (cut) path = path.substr(0, path.substr(0, longest_read).rfind('/') + 1);
  std::string out;
  while (true) {
    const std::size_t slash = path.find('/');
    const std::string_view segment = path.substr(0, slash);
    const std::string_view shown = is_identifier(segment) ? ":id" : segment;
    if (out.size() + shown.size() > longest_shown) {
      cut = true;
      break;
    }
    out += shown;
    if (slash == std::string_view::npos) break;
    out += '/';
    path.remove_prefix(slash + 1);
  }
  if (cut) out += "…";
  return out;
}

std::string redact_url(std::string_view url) {
  const std::string_view kept = url.substr(0, url.find_first_of("?#"));
  const std::size_t scheme = kept.find("://");
  // What is no URL has no part of which one could say that it is harmless.
  if (scheme == std::string_view::npos) return redact_path(kept);
  const std::size_t authority = scheme + 3;
  const std::size_t path = std::min(kept.find('/', authority), kept.size());
  std::string_view host = kept.substr(authority, path - authority);
  std::string out = printable(kept.substr(0, std::min<std::size_t>(authority, 16)));
  if (const std::size_t user = host.rfind('@'); user != std::string_view::npos) {
    out += "…@";
    host.remove_prefix(user + 1);
  }
  out += printable(host.substr(0, longest_shown));
  return out + redact_path(kept.substr(path));
}

}  // namespace alga::engine
