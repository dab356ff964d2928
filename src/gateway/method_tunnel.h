#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace alga::gateway {

/// A request whose `POST` may stand for another method, as the iframe's proxy sends it.
struct TunnelledRequest {
  std::string method;
  std::string query;
  std::optional<std::string> body;
};

/// Looks for `__method` in the query of a POST, then in the JSON object of its body; takes the
/// marker out without touching the rest. A GET loses its body, an object that becomes empty is no
/// body. Errors: `gateway.bad_method` for a marker that names none of GET, POST, PUT, PATCH,
/// DELETE.
[[nodiscard]] Result<TunnelledRequest> untunnel(TunnelledRequest request,
                                                std::string_view content_type);

}  // namespace alga::gateway
