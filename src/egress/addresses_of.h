#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace alga::egress {

/// The addresses behind the host of a URL of ours, when its name has several that stand for as many
/// servers (a headless service, round-robin DNS); empty when it has one, or is an address itself.
/// Of a name with addresses of both families those of the larger family, the resolver's first
/// choice when they are equal: a server with both is named once. At most 64. Blocks as long as the
/// system's resolver does. Errors: `egress.invalid_url`, `egress.transport`.
[[nodiscard]] Result<std::vector<std::string>> addresses_of(const std::string& url);

/// What addresses_of() makes of a resolver's answer, in its order; numeric addresses.
[[nodiscard]] std::vector<std::string> several_servers(const std::vector<std::string>& resolved);

}  // namespace alga::egress
