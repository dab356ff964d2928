#include "control_plane/setting_text.h"

#include <array>
#include <boost/json/serialize.hpp>
#include <charconv>
#include <cmath>
#include <cstdlib>

namespace alga::control_plane {
namespace {

/// ECMA-262, Number::toString: the fewest digits that read back as the same number, without an
/// exponent between a millionth and 10^21.
void append_number(std::string& out, double number) {
  std::array<char, 32> buffer{};
  const auto written = std::to_chars(buffer.data(), buffer.data() + buffer.size(), std::abs(number),
                                     std::chars_format::scientific);
  const std::string_view text(buffer.data(), written.ptr);  // `d.ddde+dd`
  const std::size_t mark = text.find('e');
  int exponent = 0;
  std::from_chars(text.data() + mark + (text[mark + 1] == '+' ? 2 : 1), written.ptr, exponent);
  std::string digits(1, text[0]);
  if (mark > 2) digits += text.substr(2, mark - 2);
  const auto count = static_cast<int>(digits.size());

  if (number < 0) out += '-';
  if (exponent < -6 || exponent >= 21) {
    out += digits[0];
    if (count > 1) out += '.' + digits.substr(1);
    out += exponent < 0 ? "e-" : "e+";
    out += std::to_string(std::abs(exponent));
  } else if (exponent < 0) {
    out += "0." + std::string(static_cast<std::size_t>(-exponent - 1), '0') + digits;
  } else if (exponent >= count - 1) {
    out += digits + std::string(static_cast<std::size_t>(exponent - count + 1), '0');
  } else {
    const auto whole = static_cast<std::size_t>(exponent) + 1;
    out += digits.substr(0, whole) + '.' + digits.substr(whole);
  }
}

// NOLINTNEXTLINE(misc-no-recursion): as deep as the parser lets a document be.
void append(std::string& out, const boost::json::value& value) {
  char between = '\0';
  const auto next = [&out, &between] {
    if (between != '\0') out += between;
    between = ',';
  };
  if (value.is_double()) return append_number(out, value.get_double());
  if (value.is_array()) {
    out += '[';
    for (const boost::json::value& item : value.get_array()) {
      next();
      append(out, item);
    }
    out += ']';
  } else if (value.is_object()) {
    out += '{';
    for (const auto& [name, member] : value.get_object()) {
      next();
      out += boost::json::serialize(name);
      out += ':';
      append(out, member);
    }
    out += '}';
  } else {
    out += boost::json::serialize(value);
  }
}

}  // namespace

std::string setting_text(const boost::json::value& value) {
  if (value.is_string()) return std::string(value.get_string());
  std::string text;
  if (!value.is_null()) append(text, value);
  return text;
}

}  // namespace alga::control_plane
