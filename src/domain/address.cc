#include "domain/address.h"

#include <algorithm>
#include <boost/url/ipv4_address.hpp>
#include <boost/url/ipv6_address.hpp>
#include <charconv>
#include <cstddef>
#include <span>

namespace alga::domain {
namespace {

namespace urls = boost::urls;

constexpr AddressBytes v4(std::uint8_t a, std::uint8_t b, std::uint8_t c, std::uint8_t d) {
  return {{a, b, c, d}, false};
}
/// The first three groups are enough for every prefix of the registries.
constexpr AddressBytes v6(std::uint16_t a, std::uint16_t b = 0, std::uint16_t c = 0) {
  auto high = [](std::uint16_t group) { return static_cast<std::uint8_t>(group >> 8U); };
  auto low = [](std::uint16_t group) { return static_cast<std::uint8_t>(group & 0xFFU); };
  return {{high(a), low(a), high(b), low(b), high(c), low(c)}, true};
}

// https://www.iana.org/assignments/iana-ipv4-special-registry (and the multicast and reserved
// blocks): everything there that is not plain global unicast.
constexpr Network special_v4[] = {
    {v4(0, 0, 0, 0), 8},        // this network
    {v4(10, 0, 0, 0), 8},       // private use
    {v4(100, 64, 0, 0), 10},    // shared address space (carrier-grade NAT)
    {v4(127, 0, 0, 0), 8},      // loopback
    {v4(169, 254, 0, 0), 16},   // link-local
    {v4(172, 16, 0, 0), 12},    // private use
    {v4(192, 0, 0, 0), 24},     // IETF protocol assignments
    {v4(192, 0, 2, 0), 24},     // TEST-NET-1
    {v4(192, 31, 196, 0), 24},  // AS112
    {v4(192, 52, 193, 0), 24},  // AMT
    {v4(192, 88, 99, 0), 24},   // 6to4 relays, deprecated
    {v4(192, 168, 0, 0), 16},   // private use
    {v4(192, 175, 48, 0), 24},  // AS112
    {v4(198, 18, 0, 0), 15},    // benchmarking
    {v4(198, 51, 100, 0), 24},  // TEST-NET-2
    {v4(203, 0, 113, 0), 24},   // TEST-NET-3
    {v4(224, 0, 0, 0), 4},      // multicast
    {v4(240, 0, 0, 0), 4},      // reserved, limited broadcast
};

constexpr Network global_unicast_v6{v6(0x2000), 3};
// https://www.iana.org/assignments/iana-ipv6-special-registry within global unicast.
constexpr Network special_v6[] = {
    {v6(0x2001), 23},                // IETF protocol assignments: Teredo, ORCHID, benchmarking …
    {v6(0x2001, 0xdb8), 32},         // documentation
    {v6(0x2002), 16},                // 6to4
    {v6(0x2620, 0x4f, 0x8000), 48},  // AS112
    {v6(0x3fff), 20},                // documentation
};

constexpr AddressBytes metadata_addresses[] = {
    v4(169, 254, 169, 254),                                                      // AWS, GCP …
    v4(169, 254, 170, 2),                                                        // AWS ECS
    v4(169, 254, 169, 123),                                                      // AWS time
    v4(100, 100, 100, 200),                                                      // Alibaba
    v4(192, 0, 0, 192),                                                          // Oracle
    v4(168, 63, 129, 16),                                                        // Azure agent
    {{0xfd, 0x00, 0x0e, 0xc2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x02, 0x54}, true},  // AWS
    {{0xfd, 0x20, 0x00, 0xce, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x02, 0x54}, true},  // GCP
};

constexpr std::array<std::uint8_t, 12> mapped_prefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
constexpr std::array<std::uint8_t, 12> nat64_prefix{0x00, 0x64, 0xFF, 0x9B, 0, 0, 0, 0, 0, 0, 0, 0};

bool has_prefix(const AddressBytes& address, const std::array<std::uint8_t, 12>& prefix) {
  return address.v6 && std::equal(prefix.begin(), prefix.end(), address.bytes.begin());
}

AddressBytes embedded_v4(const AddressBytes& address) {
  return v4(address.bytes[12], address.bytes[13], address.bytes[14], address.bytes[15]);
}

bool in_any(std::span<const Network> networks, const AddressBytes& address) {
  return std::ranges::any_of(networks,
                             [&](const Network& network) { return network.contains(address); });
}

}  // namespace

std::optional<AddressBytes> parse_address(std::string_view text) {
  AddressBytes address{{}, false};
  if (auto four = urls::parse_ipv4_address(text)) {
    std::ranges::copy(four->to_bytes(), address.bytes.begin());
    return address;
  }
  if (auto six = urls::parse_ipv6_address(text)) {
    address.v6 = true;
    std::ranges::copy(six->to_bytes(), address.bytes.begin());
    return address;
  }
  return std::nullopt;
}

bool Network::contains(const AddressBytes& other) const {
  if (other.v6 != address.v6) return false;
  std::size_t whole = bits / 8U;
  if (!std::equal(address.bytes.begin(), address.bytes.begin() + static_cast<std::ptrdiff_t>(whole),
                  other.bytes.begin())) {
    return false;
  }
  unsigned rest = bits % 8U;
  if (rest == 0) return true;
  unsigned mask = 0xFFU << (8U - rest);
  return (address.bytes[whole] & mask) == (other.bytes[whole] & mask);
}

std::optional<Network> parse_network(std::string_view text) {
  std::size_t slash = text.rfind('/');
  if (slash == std::string_view::npos) return std::nullopt;
  std::optional<AddressBytes> address = parse_address(text.substr(0, slash));
  std::string_view digits = text.substr(slash + 1);
  unsigned bits = 0;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), bits);
  if (!address || digits.empty() || error != std::errc{} || end != digits.data() + digits.size() ||
      bits > (address->v6 ? 128U : 32U)) {
    return std::nullopt;
  }
  for (unsigned bit = bits; bit < (address->v6 ? 128U : 32U); ++bit) {
    if ((address->bytes[bit / 8U] & (0x80U >> (bit % 8U))) != 0) return std::nullopt;
  }
  return Network{*address, static_cast<std::uint8_t>(bits)};
}

AddressBytes unmapped(const AddressBytes& address) {
  return has_prefix(address, mapped_prefix) ? embedded_v4(address) : address;
}

AddressBytes reached(const AddressBytes& address) {
  return has_prefix(address, nat64_prefix) ? embedded_v4(address) : unmapped(address);
}

bool is_metadata(const AddressBytes& address) {
  return std::ranges::find(metadata_addresses, reached(address)) != std::end(metadata_addresses);
}

bool is_public(const AddressBytes& given) {
  const AddressBytes address = reached(given);
  if (is_metadata(address)) return false;
  if (!address.v6) return !in_any(special_v4, address);
  return global_unicast_v6.contains(address) && !in_any(special_v6, address);
}

}  // namespace alga::domain
