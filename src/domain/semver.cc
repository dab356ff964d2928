#include "domain/semver.h"

#include <algorithm>
#include <charconv>

namespace alga::domain {
namespace {

constexpr std::size_t longest = 128;
constexpr std::uint64_t largest = (std::uint64_t{1} << 53U) - 1;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_word(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-';
  });
}

bool is_number(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, is_digit);
}

std::optional<std::uint64_t> parse_number(std::string_view text) {
  if (!is_number(text) || (text.size() > 1 && text.front() == '0')) return std::nullopt;
  std::uint64_t number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || number > largest) return std::nullopt;
  return number;
}

/// Takes everything up to `mark` out of `text`; the rest stays, without the mark.
std::string_view take_until(std::string_view& text, char mark) {
  std::size_t at = std::min(text.find(mark), text.size());
  std::string_view taken = text.substr(0, at);
  text.remove_prefix(std::min(at + 1, text.size()));
  return taken;
}

std::strong_ordering compare_identifiers(const std::string& a, const std::string& b) {
  bool a_number = is_number(a);
  bool b_number = is_number(b);
  if (a_number != b_number) return b_number <=> a_number;  // numbers come first
  if (a_number && a.size() != b.size()) return a.size() <=> b.size();
  return a.compare(b) <=> 0;
}

}  // namespace

std::optional<SemVer> SemVer::parse(std::string_view text) {
  if (text.size() > longest) return std::nullopt;
  SemVer out;
  std::string_view rest = text;
  bool has_build = rest.contains('+');
  std::string_view core_and_pre = take_until(rest, '+');
  if (has_build) {
    if (rest.empty() || rest.ends_with('.')) return std::nullopt;
    out.build = std::string(rest);
    while (!rest.empty()) {
      if (!is_word(take_until(rest, '.'))) return std::nullopt;
    }
  }
  bool has_pre = core_and_pre.contains('-');
  std::string_view core = take_until(core_and_pre, '-');
  if (has_pre) {
    std::string_view parts = core_and_pre;
    if (parts.empty() || parts.ends_with('.')) return std::nullopt;
    while (!parts.empty()) {
      std::string_view word = take_until(parts, '.');
      if (!is_word(word) || (is_number(word) && !parse_number(word))) return std::nullopt;
      out.pre.emplace_back(word);
    }
  }
  if (std::ranges::count(core, '.') != 2) return std::nullopt;
  auto major = parse_number(take_until(core, '.'));
  auto minor = parse_number(take_until(core, '.'));
  if (!major || !minor) return std::nullopt;
  out.major = *major;
  out.minor = *minor;
  if (core == "*") {
    if (has_pre || has_build) return std::nullopt;
    out.any_patch = true;
    return out;
  }
  auto patch = parse_number(core);
  if (!patch) return std::nullopt;
  out.patch = *patch;
  return out;
}

std::string SemVer::str() const {
  std::string out = std::to_string(major) + "." + std::to_string(minor) + ".";
  out += any_patch ? "*" : std::to_string(patch);
  for (std::size_t i = 0; i < pre.size(); ++i) out += (i == 0 ? "-" : ".") + pre[i];
  return build.empty() ? out : out + "+" + build;
}

std::strong_ordering SemVer::compare(const SemVer& other) const {
  if (auto order = major <=> other.major; order != 0) return order;
  if (auto order = minor <=> other.minor; order != 0) return order;
  if (auto order = patch <=> other.patch; order != 0) return order;
  if (pre.empty() != other.pre.empty()) return pre.empty() <=> other.pre.empty();
  return std::lexicographical_compare_three_way(pre.begin(), pre.end(), other.pre.begin(),
                                                other.pre.end(), compare_identifiers);
}

}  // namespace alga::domain
