#pragma once

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "config/config.h"

namespace alga::config {

using Names = std::set<std::string, std::less<>>;

/// What settings demand of one another (`config.incomplete`). A rule that asks for one of the
/// `doubtful` settings, whose value could not be read, says nothing. Each fault stands where the
/// settings that it is about were said.
[[nodiscard]] std::vector<Fault> check_rules(const Config& config, const Names& doubtful);

}  // namespace alga::config
