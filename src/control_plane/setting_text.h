#pragma once

#include <boost/json/value.hpp>
#include <string>

namespace alga::control_plane {

/// What a guest reads of a setting that was given as JSON: text stays, null is empty, everything
/// else is written as `JSON.stringify` does (`0.5`, `100000`, `1e+30`; members in their order), so
/// that the guest can compare it with what an administrator typed.
[[nodiscard]] std::string setting_text(const boost::json::value& value);

}  // namespace alga::control_plane
