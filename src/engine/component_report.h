#pragma once

#include <cstdint>
#include <filesystem>
#include <stop_token>
#include <string>
#include <string_view>

#include "domain/ports/component_inspector.h"
#include "engine/child_process.h"

namespace alga::engine {

/// What `<self> inspect-worker` says of a file: the JSON of ab_describe. Blocks, until `stop` is
/// requested at the latest. Errors as ComponentInspector.
[[nodiscard]] Result<std::string> describe_component(const std::filesystem::path& self,
                                                     const std::string& file,
                                                     std::uint64_t max_bytes, ChildTime time,
                                                     std::uint64_t max_report_bytes,
                                                     const std::stop_token& stop = {});

/// Reads that JSON. Error: `component.malformed`.
[[nodiscard]] Result<domain::ComponentReport> read_report(std::string_view json);

[[nodiscard]] Result<domain::ComponentReport> inspect_component(
    const std::filesystem::path& self, const std::string& file, std::uint64_t max_bytes,
    ChildTime time, std::uint64_t max_report_bytes, const std::stop_token& stop = {});

}  // namespace alga::engine
