#include "httpd/forwarded.h"

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace alga::httpd {
namespace {

/// The elements of a list header, in the order in which the proxies added them.
std::vector<std::string_view> elements(const domain::Headers& headers, std::string_view name) {
  std::vector<std::string_view> out;
  for (const domain::Header& header : headers) {
    if (!iequals(header.name, name)) continue;
    std::string_view rest = header.value;
    while (true) {
      const std::size_t comma = rest.find(',');
      out.push_back(trim(rest.substr(0, comma)));
      if (comma == std::string_view::npos) break;
      rest.remove_prefix(comma + 1);
    }
  }
  return out;
}

/// `203.0.113.7`, `203.0.113.7:4711`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:4711`.
std::optional<std::string_view> address_text(std::string_view text) {
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos) return std::nullopt;
    text = text.substr(1, end - 1);
  } else if (std::ranges::count(text, ':') == 1) {
    text = text.substr(0, text.find(':'));
  }
  if (!domain::parse_address(text)) return std::nullopt;
  return text;
}

bool is_trusted(std::string_view text, const std::vector<domain::Network>& trusted) {
  const auto address = domain::parse_address(text);
  if (!address) return false;
  const domain::AddressBytes plain = domain::unmapped(*address);
  return std::ranges::any_of(
      trusted, [&plain](const domain::Network& network) { return network.contains(plain); });
}

/// Whether a proxy has written this, whoever it is.
bool is_of_a_proxy(std::string_view name) {
  constexpr std::string_view prefix = "x-forwarded-";
  return iequals(name.substr(0, prefix.size()), prefix) || iequals(name, "forwarded") ||
         iequals(name, "via") || iequals(name, "x-real-ip");
}

}  // namespace

void believe_proxies(Peer& peer, const domain::Headers& headers,
                     const std::vector<domain::Network>& trusted) {
  const bool from_proxy = is_trusted(peer.address, trusted);
  peer.forwarded = from_proxy || std::ranges::any_of(headers, is_of_a_proxy, &domain::Header::name);
  if (!from_proxy) return;
  const auto protocols = elements(headers, "x-forwarded-proto");
  if (!protocols.empty()) peer.secure = iequals(protocols.back(), "https");
  const auto addresses = elements(headers, "x-forwarded-for");
  for (auto element = addresses.rbegin(); element != addresses.rend(); ++element) {
    const auto address = address_text(*element);
    if (!address) return;  // what stands before it may be anybody's invention
    peer.address = *address;
    if (!is_trusted(*address, trusted)) return;
  }
}

}  // namespace alga::httpd
