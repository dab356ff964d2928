#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "domain/ports/component_inspector.h"
#include "engine/child_process.h"

namespace alga::engine {

/// What `<self> inspect-worker` says of a file: the JSON of ab_describe. Blocks. Errors as
/// ComponentInspector.
[[nodiscard]] Result<std::string> describe_component(const std::filesystem::path& self,
                                                     const std::string& file,
                                                     std::uint64_t max_bytes, ChildTime time,
                                                     std::uint64_t max_report_bytes);

/// Reads that JSON. Error: `component.malformed`.
[[nodiscard]] Result<domain::ComponentReport> read_report(std::string_view json);

[[nodiscard]] Result<domain::ComponentReport> inspect_component(const std::filesystem::path& self,
                                                                const std::string& file,
                                                                std::uint64_t max_bytes,
                                                                ChildTime time,
                                                                std::uint64_t max_report_bytes);

}  // namespace alga::engine
