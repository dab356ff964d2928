#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "domain/http.h"
#include "httpd/message.h"

namespace alga::httpd {

struct HeadLimits {
  std::size_t max_bytes = 64U << 10U;  ///< request line and fields together
  std::size_t max_fields = 100;
  std::size_t max_target = 16U << 10U;
};

/// Why a request is refused before it is routed.
struct HeadFault {
  std::uint16_t status = 400;
  std::string_view code;
  std::string_view message;
};

/// The request line and fields of a request, checked.
struct RequestHead {
  std::string method;
  std::string path;
  std::string query;
  domain::Headers headers;
  bool http11 = true;
  bool keep_alive = true;
  bool expects_continue = false;
  bool chunked = false;
  std::uint64_t content_length = 0;  ///< of a body that is not chunked

  [[nodiscard]] bool has_body() const { return chunked || content_length > 0; }
};

/// The length of the head at the beginning of `received`, its blank line included; none when it is
/// not complete yet. A head longer than the limit is a fault as soon as that can be seen.
[[nodiscard]] std::expected<std::optional<std::size_t>, HeadFault> find_head(
    std::string_view received, const HeadLimits& limits);

/// Parses a complete head, stricter than RFC 9112 allows a server to be, because a proxy in front
/// may read it differently: CRLF line ends only, no obs-fold, no control characters, no blank
/// before a colon, exactly one Host in HTTP/1.1, one Content-Length of digits only, never together
/// with Transfer-Encoding, whose one known coding is `chunked`; targets in origin form only.
[[nodiscard]] std::expected<RequestHead, HeadFault> parse_head(std::string_view head,
                                                               const HeadLimits& limits);

/// How the body of an answer is delimited.
struct Framing {
  std::optional<std::uint64_t> content_length;
  bool chunked = false;
  bool keep_alive = true;
};

/// The status line and fields of an answer. Adds the server's defaults (see Response), drops the
/// handler's framing fields. None when a field of the handler's is not a valid header.
[[nodiscard]] std::optional<std::string> serialize_head(const Response& response,
                                                        const Framing& framing,
                                                        std::string_view request_id,
                                                        std::string_view date);

/// IMF-fixdate (RFC 9110 section 5.6.7): `Sat, 21 Nov 2026 04:10:52 GMT`.
[[nodiscard]] std::string http_date(WallTime time);

}  // namespace alga::httpd
