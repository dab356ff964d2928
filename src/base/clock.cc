#include "base/clock.h"

#include <cstdio>

namespace alga {
namespace {

/// Reads exactly `digits` decimal digits at `at` and moves on; -1 when they are not there.
int read_digits(std::string_view text, std::size_t& at, int digits) {
  int value = 0;
  for (int i = 0; i < digits; ++i, ++at) {
    if (at >= text.size() || text[at] < '0' || text[at] > '9') return -1;
    value = value * 10 + (text[at] - '0');
  }
  return value;
}

bool read_char(std::string_view text, std::size_t& at, char expected) {
  if (at >= text.size() || (text[at] | 0x20) != (expected | 0x20)) return false;
  ++at;
  return true;
}

}  // namespace

std::string format_rfc3339(WallTime time) {
  auto day = std::chrono::floor<std::chrono::days>(time);
  std::chrono::year_month_day date{day};
  auto rest = time - day;
  auto ms = rest.count();
  char buffer[40];
  int length = std::snprintf(buffer, sizeof buffer, "%04d-%02u-%02uT%02d:%02d:%02d.%03dZ",
                             static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                             static_cast<unsigned>(date.day()), static_cast<int>(ms / 3'600'000),
                             static_cast<int>(ms / 60'000 % 60), static_cast<int>(ms / 1000 % 60),
                             static_cast<int>(ms % 1000));
  return {buffer, static_cast<std::size_t>(length)};
}

std::optional<WallTime> parse_rfc3339(std::string_view text) {
  std::size_t at = 0;
  int year = read_digits(text, at, 4);
  if (year < 0 || !read_char(text, at, '-')) return std::nullopt;
  int month = read_digits(text, at, 2);
  if (month < 0 || !read_char(text, at, '-')) return std::nullopt;
  int day = read_digits(text, at, 2);
  if (day < 0 || !read_char(text, at, 'T')) return std::nullopt;
  int hour = read_digits(text, at, 2);
  if (hour < 0 || hour > 23 || !read_char(text, at, ':')) return std::nullopt;
  int minute = read_digits(text, at, 2);
  if (minute < 0 || minute > 59 || !read_char(text, at, ':')) return std::nullopt;
  int second = read_digits(text, at, 2);
  if (second < 0 || second > 60) return std::nullopt;
  int milliseconds = 0;
  if (at < text.size() && text[at] == '.') {
    ++at;
    int scale = 100;
    int count = 0;
    for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, ++count, scale /= 10) {
      milliseconds += (text[at] - '0') * scale;
    }
    if (count == 0 || count > 9) return std::nullopt;
  }
  std::chrono::minutes offset{0};
  if (at < text.size() && (text[at] == '+' || text[at] == '-')) {
    int sign = text[at++] == '-' ? -1 : 1;
    int hours = read_digits(text, at, 2);
    if (hours < 0 || hours > 23 || !read_char(text, at, ':')) return std::nullopt;
    int minutes = read_digits(text, at, 2);
    if (minutes < 0 || minutes > 59) return std::nullopt;
    offset = std::chrono::minutes{sign * (hours * 60 + minutes)};
  } else if (!read_char(text, at, 'Z')) {
    return std::nullopt;
  }
  if (at != text.size()) return std::nullopt;
  std::chrono::year_month_day date{std::chrono::year{year},
                                   std::chrono::month{static_cast<unsigned>(month)},
                                   std::chrono::day{static_cast<unsigned>(day)}};
  if (!date.ok()) return std::nullopt;
  return WallTime{std::chrono::sys_days{date}} + std::chrono::hours{hour} +
         std::chrono::minutes{minute} + std::chrono::seconds{second} +
         std::chrono::milliseconds{milliseconds} - offset;
}

}  // namespace alga
