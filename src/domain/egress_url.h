#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "domain/address.h"

namespace alga::domain {

/// An absolute http(s) URL in one canonical spelling: scheme and host in lower case, no trailing
/// dot, no userinfo, no fragment, port only when it is not the scheme's own, dot segments removed,
/// percent-encoding normalised. It exists only when every reader would understand the host alike.
struct EgressUrl {
  std::string scheme;
  std::string host;                     ///< without brackets
  std::optional<AddressBytes> address;  ///< when the host is a literal address
  std::uint16_t port = 0;
  std::string path;   ///< encoded, starts with `/`
  std::string query;  ///< encoded, with its `?`, or empty

  /// Written here because Boost.URL 1.81 reads `http://1.2.3.4.5/` as the host 1.2.3.4 and decodes
  /// `%2F` when it normalises; both would let the judged URL differ from the dialled one.
  /// Strict: RFC 3986 after percent-encoding what the URL standard leaves bare in paths and queries
  /// (`[ ] { } | ^` and non-ASCII). Refused: other schemes, userinfo, port 0, hosts that are not
  /// plain ASCII names or addresses, hosts that end in a number without being a dotted IPv4 address
  /// (the URL standard would read `127.1` or `0x7f000001` as an address), zones, backslashes,
  /// controls, blanks. Error: `egress.invalid_url`; the message never repeats the URL.
  [[nodiscard]] static Result<EgressUrl> parse(std::string_view text);

  [[nodiscard]] std::string str() const;
};

/// A host name of letters, digits, `-` and `_`, at most 253 characters, labels of 1 to 63, in lower
/// case, last label not a number. International names must come as ASCII (`xn--`).
[[nodiscard]] bool is_canonical_hostname(std::string_view host);

[[nodiscard]] constexpr std::uint16_t default_port(std::string_view scheme) {
  return scheme == "https" ? 443 : 80;
}

}  // namespace alga::domain
