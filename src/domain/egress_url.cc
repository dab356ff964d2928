#include "domain/egress_url.h"

#include <algorithm>
#include <boost/url/ipv6_address.hpp>
#include <charconv>
#include <vector>

#include "base/bytes.h"

namespace alga::domain {
namespace {

constexpr std::size_t longest_url = std::size_t{16} << 10U;
constexpr std::size_t longest_host = 253;

std::unexpected<Error> invalid(std::string reason) {
  return fail(Kind::invalid, "egress.invalid_url", std::move(reason));
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_host_character(char c) {
  return (c >= 'a' && c <= 'z') || is_digit(c) || c == '-' || c == '_';
}

/// https://url.spec.whatwg.org/#ends-in-a-number-checker, on one label.
bool is_number_label(std::string_view label) {
  if (!label.empty() && std::ranges::all_of(label, is_digit)) return true;
  if (!label.starts_with("0x")) return false;
  return std::ranges::all_of(label.substr(2),
                             [](char c) { return is_digit(c) || (c >= 'a' && c <= 'f'); });
}

bool is_unreserved(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '-' || c == '.' ||
         c == '_' || c == '~';
}

void append_encoded(std::string& out, unsigned char byte) {
  constexpr char digits[] = "0123456789ABCDEF";
  out += '%';
  out += digits[byte >> 4U];
  out += digits[byte & 0x0FU];
}

/// One spelling for a path or query: unreserved characters bare, everything else that RFC 3986 does
/// not let stand bare encoded with capital digits.
Result<std::string> normalise_encoding(std::string_view part) {
  constexpr std::string_view never_bare = "[]{}|^`\"<>\\";
  std::string out;
  for (std::size_t i = 0; i < part.size(); ++i) {
    auto byte = static_cast<unsigned char>(part[i]);
    if (byte <= 0x20 || byte == 0x7F) return invalid("blanks and control characters");
    if (byte == '%') {
      std::optional<std::string> decoded = hex_decode(part.substr(i + 1, 2));
      if (!decoded || decoded->size() != 1) return invalid("a bad percent-encoding");
      char c = decoded->front();
      if (is_unreserved(c)) {
        out += c;
      } else {
        append_encoded(out, static_cast<unsigned char>(c));
      }
      i += 2;
    } else if (byte >= 0x80 || never_bare.contains(part[i])) {
      append_encoded(out, byte);
    } else {
      out += part[i];
    }
  }
  return out;
}

/// RFC 3986 section 5.2.4 on a path that is empty or starts with `/`.
std::string remove_dot_segments(std::string_view path) {
  std::vector<std::string_view> kept;
  bool directory = true;  // does the result end in `/`?
  while (!path.empty()) {
    path.remove_prefix(1);
    std::size_t slash = std::min(path.find('/'), path.size());
    std::string_view segment = path.substr(0, slash);
    path.remove_prefix(slash);
    directory = segment == "." || segment == "..";
    if (segment == "..") {
      if (!kept.empty()) kept.pop_back();
    } else if (segment != ".") {
      kept.push_back(segment);
    }
  }
  std::string out;
  for (std::string_view segment : kept) {
    out += '/';
    out += segment;
  }
  if (directory) out += '/';
  return out;
}

Result<std::uint16_t> read_port(std::string_view digits, std::string_view scheme) {
  if (digits.empty()) return default_port(scheme);
  unsigned number = 0;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc{} || end != digits.data() + digits.size() || number == 0 ||
      number > 65535) {
    return invalid("the port must be between 1 and 65535");
  }
  return static_cast<std::uint16_t>(number);
}

Status read_host(std::string_view text, EgressUrl& out) {
  bool brackets = text.starts_with('[');
  if (brackets) {
    if (!text.ends_with(']')) return invalid("the address in brackets");
    text = text.substr(1, text.size() - 2);
  }
  out.address = parse_address(text);
  if (out.address) {
    if (out.address->v6 != brackets) return invalid("IPv6 addresses stand in brackets");
    out.host = brackets ? boost::urls::ipv6_address(out.address->bytes).to_string() : text;
    return {};
  }
  out.host = to_lower(text);
  if (out.host.ends_with('.')) out.host.pop_back();
  if (brackets || !is_canonical_hostname(out.host)) {
    return invalid("the host is neither a plain ASCII name nor a dotted address");
  }
  return {};
}

Status read_authority(std::string_view authority, EgressUrl& out) {
  if (authority.contains('@')) return invalid("user names and passwords do not belong in a URL");
  // The port follows the last colon that is not inside brackets.
  std::size_t colon = authority.rfind(':');
  if (colon != std::string_view::npos && authority.find(']', colon) != std::string_view::npos) {
    colon = std::string_view::npos;
  }
  TRY_VOID(read_host(authority.substr(0, colon), out));
  std::string_view port = colon == std::string_view::npos ? "" : authority.substr(colon + 1);
  TRY(out.port, read_port(port, out.scheme));
  return {};
}

}  // namespace

bool is_canonical_hostname(std::string_view host) {
  if (host.empty() || host.size() > longest_host) return false;
  std::string_view rest = host;
  std::string_view label;
  while (true) {
    std::size_t dot = rest.find('.');
    label = rest.substr(0, dot);
    if (label.empty() || label.size() > 63 || label.front() == '-' || label.back() == '-' ||
        !std::ranges::all_of(label, is_host_character)) {
      return false;
    }
    if (dot == std::string_view::npos) break;
    rest.remove_prefix(dot + 1);
  }
  return !is_number_label(label);
}

Result<EgressUrl> EgressUrl::parse(std::string_view text) {
  if (text.size() > longest_url) return invalid("the URL is too long");
  if (!is_utf8(text)) return invalid("the URL is not UTF-8");
  std::size_t authority = text.find("://");
  if (authority == std::string_view::npos) return invalid("the URL must be absolute");
  EgressUrl out;
  out.scheme = to_lower(text.substr(0, authority));
  if (out.scheme != "http" && out.scheme != "https") {
    return invalid("the scheme must be http or https");
  }
  text.remove_prefix(authority + 3);
  std::size_t tail = std::min(text.find_first_of("/?#"), text.size());
  TRY_VOID(read_authority(text.substr(0, tail), out));

  // A fragment never leaves the caller.
  text = text.substr(tail, text.find('#') - tail);
  std::size_t query = std::min(text.find('?'), text.size());
  if (text.substr(0, query).contains('\\')) return invalid("a backslash");
  TRY(std::string path, normalise_encoding(text.substr(0, query)));
  out.path = remove_dot_segments(path);
  TRY(out.query, normalise_encoding(text.substr(query)));
  return out;
}

std::string EgressUrl::str() const {
  std::string out = scheme + "://";
  bool brackets = address && address->v6;
  if (brackets) out += '[';
  out += host;
  if (brackets) out += ']';
  if (port != default_port(scheme)) out += ":" + std::to_string(port);
  return out + path + query;
}

}  // namespace alga::domain
