#pragma once

#include "base/result.h"
#include "domain/http.h"

namespace alga::egress {

/// The fields of a request that may go out: without those that belong to the connection (RFC 9110
/// section 7.6.1, those that `connection` names included), to the framing, or to proxies; `host`
/// comes from the URL. Errors: `egress.invalid_request` (invalid) for a field that is no valid
/// header; `egress.too_many_headers` and `egress.headers_too_large` (too_large). The message names
/// the field, never its value.
[[nodiscard]] Result<domain::Headers> outgoing_headers(const domain::Headers& headers,
                                                       domain::HeaderLimits limits);

/// Upper-cased method. Error: `egress.invalid_request` when it is no token, longer than 32, or one
/// of CONNECT, TRACE and TRACK.
[[nodiscard]] Result<std::string> outgoing_method(std::string_view method);

}  // namespace alga::egress
