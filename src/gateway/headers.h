#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "domain/http.h"

namespace alga::gateway {

/// What of the caller's headers a guest may see: `accept`, `accept-encoding`, `accept-language`,
/// `content-type`, `user-agent` and what the operator adds. Never credentials, cookies or
/// hop-by-hop headers, even if the operator lists them.
[[nodiscard]] domain::Headers guest_request_headers(const domain::Headers& received,
                                                    const std::vector<std::string>& also);

/// What of a guest's headers a caller may see: content type, language, disposition, `etag`,
/// `last-modified`, `retry-after`, `x-ext-*` and a `cache-control` that never allows shared caches.
/// Without `cache-control` the answer is `no-store`. Everything a browser would act upon across the
/// origin (cookies, redirects, CSP, CORS, workers) is dropped, and a CSP sandbox keeps HTML from
/// running as this origin. Values that are no header values are dropped.
[[nodiscard]] domain::Headers public_response_headers(const domain::Headers& guest);

/// The value of a header that may appear once; `gateway.ambiguous_header` when it is repeated.
[[nodiscard]] Result<std::optional<std::string>> single_header(const domain::Headers& headers,
                                                               std::string_view name);

/// `Authorization: Bearer <token>` or `x-api-key: <token>`. `gateway.unauthenticated` when there is
/// none or both are there and differ, `gateway.ambiguous_header` when one is repeated.
[[nodiscard]] Result<std::string> bearer_token(const domain::Headers& headers);

}  // namespace alga::gateway
