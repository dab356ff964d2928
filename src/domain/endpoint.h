#pragma once

#include <span>
#include <string>
#include <string_view>

#include "domain/ports/install_configs.h"

namespace alga::domain {

/// `tickets/:id/` and `/tickets/:id` are the same endpoint: one leading slash, none at the end.
[[nodiscard]] std::string normalise_endpoint_path(std::string_view path);

/// The first declared endpoint that fits, or null. `path` is the part behind the extension, without
/// query, percent-encoded as received and compared so. `:name` fits one segment that is not empty;
/// a final `*` fits one or more. HEAD fits what is declared for HEAD or GET. Slashes at both ends
/// of the path do not matter.
[[nodiscard]] const Endpoint* match_endpoint(std::span<const Endpoint> endpoints
                                             [[clang::lifetimebound]],
                                             std::string_view method, std::string_view path);

}  // namespace alga::domain
