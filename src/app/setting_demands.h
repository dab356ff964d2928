#pragma once

#include <vector>

#include "config/schema.h"

namespace alga::app {

/// Gives settings the parsers of those who will use them, so that what a start would refuse because
/// of the configuration alone is refused with file and line when it is read.
void add_demands(std::vector<config::Setting>& settings);

}  // namespace alga::app
