#pragma once

#include <vector>

#include "config/config.h"

namespace alga::config {

/// What settings demand of one another (`config.incomplete`), once each is valid by itself.
[[nodiscard]] std::vector<Fault> check_rules(const Config& config);

}  // namespace alga::config
