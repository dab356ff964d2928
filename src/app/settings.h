#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "config/config.h"
#include "domain/limits.h"

namespace alga::app {

/// Every setting of algad, limits included, with what its users demand of it.
[[nodiscard]] std::vector<config::Setting> settings();

/// File (may be empty), environment and flags in that order. All faults and warnings go to standard
/// error; none when there was a fault.
[[nodiscard]] std::optional<config::Config> load_config(const std::string& file,
                                                        const std::vector<config::Flag>& flags);

/// The limits in force. Error: `limit.out_of_range`.
[[nodiscard]] Result<domain::ServerLimits> server_limits(const config::Config& config);

/// The value of `limits.<name>` or another number, size or duration.
[[nodiscard]] std::uint64_t limit_value(const config::Config& config, domain::LimitUnit unit,
                                        const std::string& name);

}  // namespace alga::app
