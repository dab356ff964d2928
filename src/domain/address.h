#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace alga::domain {

/// An IP address as it goes over the wire. IPv4 uses the first four bytes, the rest are zero.
struct AddressBytes {
  std::array<std::uint8_t, 16> bytes;
  bool v6;
  bool operator==(const AddressBytes&) const = default;
};

/// Dotted decimal IPv4 (four parts, no leading zeros) or IPv6 (RFC 4291; no zone, no brackets).
[[nodiscard]] std::optional<AddressBytes> parse_address(std::string_view text);

/// A range of addresses of one family.
struct Network {
  AddressBytes address;
  std::uint8_t bits;
  [[nodiscard]] bool contains(const AddressBytes& other) const;
  bool operator==(const Network&) const = default;
};

/// `10.0.0.0/8`, `fd00::/8`. None when it is malformed or has bits set behind the prefix.
[[nodiscard]] std::optional<Network> parse_network(std::string_view text);

/// True when the address is ordinary public unicast: not in the IANA special-purpose registries
/// (RFC 6890 and successors), not multicast or reserved, not a tunnel or translation that embeds
/// another address (6to4, Teredo, IPv4-compatible; mapped and NAT64 addresses are judged by the
/// IPv4 address inside), and not a cloud platform's metadata or agent address.
[[nodiscard]] bool is_public(const AddressBytes& address);

/// True for addresses where clouds serve credentials and agents to their machines.
[[nodiscard]] bool is_metadata(const AddressBytes& address);

/// `::ffff:a.b.c.d` becomes `a.b.c.d`, which is what the kernel connects to; others are unchanged.
[[nodiscard]] AddressBytes unmapped(const AddressBytes& address);

/// As unmapped(), and `64:ff9b::a.b.c.d` becomes `a.b.c.d`, which is what a NAT64 gateway connects
/// to (RFC 6052): what is forbidden there. What is allowed there needs a rule for the address
/// itself.
[[nodiscard]] AddressBytes reached(const AddressBytes& address);

}  // namespace alga::domain
