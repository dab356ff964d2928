#pragma once

#include <string_view>

namespace alga::control_plane {

/// schema/openapi.json as it was when this program was built. Static storage.
[[nodiscard]] std::string_view openapi_document();

}  // namespace alga::control_plane
