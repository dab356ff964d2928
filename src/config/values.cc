#include "config/values.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>
#include <utility>

#include "base/bytes.h"

namespace alga::config {
namespace {

using Unit = std::pair<std::string_view, std::uint64_t>;
constexpr std::array<Unit, 4> size_units{
    {{"GiB", 1U << 30U}, {"MiB", 1U << 20U}, {"KiB", 1024}, {"B", 1}}};
constexpr std::array<Unit, 5> duration_units{
    {{"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}}};

std::unexpected<Error> wrong_type(std::string expected) {
  return fail(Kind::invalid, "config.wrong_type", "must be " + std::move(expected));
}
std::unexpected<Error> bad_value(std::string message) {
  return fail(Kind::invalid, "config.bad_value", std::move(message));
}

std::optional<std::uint64_t> parse_whole(std::string_view text) {
  std::uint64_t number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

/// A whole number with a unit, or without one in the smallest.
std::optional<std::uint64_t> parse_quantity(std::string_view text, std::span<const Unit> units) {
  std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  std::optional<std::uint64_t> number = parse_whole(text.substr(0, digits));
  std::string_view unit = trim(text.substr(digits));
  if (!number || unit.empty()) return number;
  for (const auto& [name, factor] : units) {
    std::uint64_t product = 0;
    if (unit == name && !__builtin_mul_overflow(*number, factor, &product)) return product;
  }
  return std::nullopt;
}

std::string write_quantity(std::uint64_t number, std::span<const Unit> largest_first) {
  for (const auto& [name, factor] : largest_first) {
    if (number != 0 && number % factor == 0)
      return std::to_string(number / factor) + std::string(name);
  }
  return std::to_string(number) + std::string(largest_first.back().first);
}

std::string write_size(std::uint64_t bytes) { return write_quantity(bytes, size_units); }
std::string write_duration(std::uint64_t ms) {
  auto largest_first = duration_units;
  std::ranges::reverse(largest_first);
  return write_quantity(ms, largest_first);
}

std::string write_number(const Setting& setting, std::uint64_t number) {
  if (setting.type == Type::size) return write_size(number);
  if (setting.type == Type::duration) return write_duration(number);
  return std::to_string(number);
}

Result<Value> in_range(const Setting& setting, std::uint64_t number) {
  if (number < setting.min || number > setting.max) {
    return fail(Kind::invalid, "config.out_of_range",
                "must be between " + write_number(setting, setting.min) + " and " +
                    write_number(setting, setting.max));
  }
  return number;
}

bool is_one_line(std::string_view text) {
  return is_utf8(text) && std::ranges::none_of(text, [](char c) {
           auto byte = static_cast<unsigned char>(c);
           return byte < 0x20 || byte == 0x7F;
         });
}

bool is_ipv6(std::string_view text) {
  std::array<unsigned char, sizeof(in6_addr)> parsed{};
  return ::inet_pton(AF_INET6, std::string(text).c_str(), parsed.data()) == 1;
}

/// `host`, `host:port` or `[address]:port` of a URL.
bool is_authority(std::string_view text) {
  std::string_view host = text.substr(0, text.find(':'));
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos || !is_ipv6(text.substr(1, end - 1))) return false;
    host = text.substr(0, end + 1);
  }
  if (host.empty() || host.find_first_of("\\<>\"^`{|}%*,;") != std::string_view::npos) return false;
  const std::string_view rest = text.substr(host.size());
  if (rest.empty()) return true;
  const std::optional<std::uint64_t> port =
      rest.starts_with(':') ? parse_whole(rest.substr(1)) : std::nullopt;
  return port && *port >= 1 && *port <= 65535;
}

/// An IPv4 address, an IPv6 address in brackets or without, or `localhost`; names are not resolved.
bool is_listenable(std::string host) {
  if (host == "localhost") return true;
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  std::array<unsigned char, sizeof(in6_addr)> parsed{};
  return ::inet_pton(AF_INET, host.c_str(), parsed.data()) == 1 || is_ipv6(host);
}

Result<Value> read_address(std::string text) {
  if (text.empty()) return text;
  std::size_t colon = text.rfind(':');
  std::optional<std::uint64_t> port;
  if (colon != std::string::npos && colon > 0) port = parse_whole(text.substr(colon + 1));
  if (!port || *port > 65535) return bad_value("must be host:port, such as 127.0.0.1:8080");
  if (!is_listenable(text.substr(0, colon))) {
    return bad_value("must begin with an IP address of this machine, 0.0.0.0 or localhost");
  }
  return text;
}

Result<Value> read_secret(const std::string& text) {
  bool reference = (text.starts_with("file:") && text.size() > 5) ||
                   (text.starts_with("env:") && text.size() > 4);
  if (!text.empty() && !reference) {
    return fail(Kind::invalid, "config.secret_in_clear",
                "must name where the secret is: \"file:/path\" or \"env:NAME\"");
  }
  return text;
}

std::string choices_of(const Setting& setting) {
  std::string out;
  for (const std::string& choice : setting.choices) out += (out.empty() ? "" : ", ") + choice;
  return out;
}

Status check_choice(const Setting& setting, const std::string& text) {
  if (setting.choices.empty() ||
      std::ranges::find(setting.choices, text) != setting.choices.end()) {
    return {};
  }
  std::string advice = nearest(text, setting.choices);
  return bad_value("must be one of: " + choices_of(setting) +
                   (advice.empty() ? "" : "; did you mean " + advice + "?"));
}

Result<Value> read_string(const Setting& setting, std::string text) {
  if (!is_one_line(text)) return bad_value("must be one line of UTF-8");
  switch (setting.type) {
    case Type::url:
      if (!text.empty()) TRY_VOID(check_url(text));
      return text;
    case Type::address: return read_address(std::move(text));
    case Type::secret: return read_secret(text);
    case Type::choice: TRY_VOID(check_choice(setting, text)); return text;
    default:
      if (has_url_password(text)) {
        return fail(Kind::invalid, "config.secret_in_clear", "must not contain a password");
      }
      return text;
  }
}

Status check_item(const Setting& setting, const std::string& item) {
  if (item.empty() || !is_one_line(item)) return bad_value("must be a line of UTF-8");
  TRY_VOID(check_choice(setting, item));
  if (has_url_password(item)) {
    return fail(Kind::invalid, "config.secret_in_clear", "must not contain a password");
  }
  return {};
}

Status check_demand(const Setting& setting, const std::string& text) {
  if (!setting.demand || text.empty()) return {};
  Status met = setting.demand(text);
  if (!met && !met.error().code.starts_with("config.")) met.error().code = "config.bad_value";
  return met;
}

std::vector<std::string> split_list(std::string_view text) {
  std::vector<std::string> out;
  while (!text.empty()) {
    std::size_t comma = std::min(text.find(','), text.size());
    if (std::string_view item = trim(text.substr(0, comma)); !item.empty()) out.emplace_back(item);
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return out;
}

Result<Value> read_fraction(double number) {
  if (!(number >= 0.0 && number <= 1.0)) {
    return fail(Kind::invalid, "config.out_of_range", "must be between 0 and 1");
  }
  return number;
}

/// Levenshtein's distance, with a swap of neighbours as one step.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<std::size_t>> steps(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) {
    for (std::size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        steps[i][j] = i + j;
        continue;
      }
      std::size_t change = a[i - 1] == b[j - 1] ? 0 : 1;
      steps[i][j] =
          std::min({steps[i - 1][j] + 1, steps[i][j - 1] + 1, steps[i - 1][j - 1] + change});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        steps[i][j] = std::min(steps[i][j], steps[i - 2][j - 2] + 1);
      }
    }
  }
  return steps[a.size()][b.size()];
}

}  // namespace

Result<Value> read_typed(const Setting& setting, const Typed& typed) {
  const auto* text = std::get_if<std::string>(&typed.value);
  const auto* number = std::get_if<std::int64_t>(&typed.value);
  switch (setting.type) {
    case Type::flag:
      if (const bool* flag = std::get_if<bool>(&typed.value)) return *flag;
      return wrong_type("true or false");
    case Type::integer:
      if (number == nullptr) return wrong_type("a whole number");
      break;
    case Type::size:
      if (text != nullptr) return read_text(setting, *text);
      if (number == nullptr) return wrong_type("a size such as \"64MiB\"");
      break;
    case Type::duration:
      if (text != nullptr) return read_text(setting, *text);
      if (number == nullptr) return wrong_type("a duration such as \"30s\"");
      break;
    case Type::fraction:
      if (const double* part = std::get_if<double>(&typed.value)) return read_fraction(*part);
      if (number != nullptr) return read_fraction(static_cast<double>(*number));
      return wrong_type("a number between 0 and 1");
    case Type::list:
      if (const auto* items = std::get_if<std::vector<std::string>>(&typed.value)) {
        return *items;
      }
      return wrong_type("a list of texts");
    default:
      if (text != nullptr) return read_string(setting, *text);
      return wrong_type("a text");
  }
  if (*number < 0) return in_range(setting, setting.max + 1);
  return in_range(setting, static_cast<std::uint64_t>(*number));
}

Result<Value> read_text(const Setting& setting, std::string_view raw) {
  std::string_view text = trim(raw);
  switch (setting.type) {
    case Type::flag:
      if (text == "true" || text == "1") return true;
      if (text == "false" || text == "0") return false;
      return wrong_type("true or false");
    case Type::integer:
      if (auto number = parse_whole(text)) return in_range(setting, *number);
      return wrong_type("a whole number");
    case Type::size:
      if (auto number = parse_quantity(text, size_units)) return in_range(setting, *number);
      return wrong_type("a size such as 64MiB");
    case Type::duration:
      if (auto number = parse_quantity(text, duration_units)) return in_range(setting, *number);
      return wrong_type("a duration such as 30s");
    case Type::fraction: {
      double number = 0;
      auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
      if (error != std::errc{} || end != text.data() + text.size()) {
        return wrong_type("a number between 0 and 1");
      }
      return read_fraction(number);
    }
    case Type::list: return split_list(text);
    default: return read_string(setting, std::string(text));
  }
}

std::vector<ItemFault> faults_of(const Setting& setting, const Value& value) {
  std::vector<ItemFault> faults;
  if (const auto* text = std::get_if<std::string>(&value)) {
    if (Status met = check_demand(setting, *text); !met) {
      faults.push_back({0, std::move(met).error()});
    }
  }
  const auto* items = std::get_if<std::vector<std::string>>(&value);
  for (std::size_t i = 0; items != nullptr && i < items->size(); ++i) {
    Status good = check_item(setting, (*items)[i]);
    if (good) good = check_demand(setting, (*items)[i]);
    if (good) continue;
    Error error = std::move(good).error();
    error.message.insert(0, "item " + std::to_string(i + 1) + " ");
    faults.push_back({i, std::move(error)});
  }
  return faults;
}

std::string quote_toml(std::string_view text) {
  constexpr char digits[] = "0123456789abcdef";
  std::string out = "\"";
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte == 0x7F) {
      out += "\\u00";
      out += digits[byte >> 4U];
      out += digits[byte & 0x0FU];
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string write_toml(const Setting& setting, const Value& value) {
  if (const bool* flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
  if (const auto* number = std::get_if<std::uint64_t>(&value)) {
    std::string text = write_number(setting, *number);
    return setting.type == Type::integer ? text : quote_toml(text);
  }
  if (const double* number = std::get_if<double>(&value)) {
    std::array<char, 32> buffer{};
    auto [end, error] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), *number);
    std::string text(buffer.data(), end);
    return text.contains('.') ? text : text + ".0";
  }
  if (const auto* text = std::get_if<std::string>(&value)) return quote_toml(*text);
  std::string out;
  for (const std::string& item : std::get<std::vector<std::string>>(value)) {
    out += (out.empty() ? "" : ", ") + quote_toml(item);
  }
  return "[" + out + "]";
}

std::string nearest(std::string_view text, const std::vector<std::string>& candidates) {
  constexpr std::size_t longest = 100;
  if (text.size() > longest) return "";
  std::string best;
  std::size_t best_distance = text.size() / 3 + 2;
  for (const std::string& candidate : candidates) {
    std::size_t steps = distance(text, candidate);
    if (steps < best_distance) {
      best_distance = steps;
      best = candidate;
    }
  }
  return best;
}

Status check_url(std::string_view text) {
  const std::size_t scheme = text.starts_with("https://") ? 8 : text.starts_with("http://") ? 7 : 0;
  const bool plain = text.find_first_of("?# ") == std::string_view::npos;
  const std::string_view rest = text.substr(scheme);
  if (rest.contains('@')) {
    return fail(Kind::invalid, "config.secret_in_clear", "must not contain credentials");
  }
  if (scheme == 0 || !plain) {
    return bad_value("must be an http or https URL without query and fragment");
  }
  if (!is_authority(rest.substr(0, rest.find('/')))) {
    return bad_value("must be a URL with a host, such as https://example.com:8443");
  }
  return {};
}

bool has_url_password(std::string_view text) {
  std::size_t start = text.find("://");
  if (start == std::string_view::npos) return false;
  std::string_view authority = text.substr(start + 3);
  authority = authority.substr(0, authority.find_first_of("/?#"));
  std::size_t at = authority.rfind('@');
  return at != std::string_view::npos && authority.substr(0, at).contains(':');
}

}  // namespace alga::config
