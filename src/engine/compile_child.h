// One component, compiled in a process of its own.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <stop_token>

#include "base/result.h"
#include "engine/child_process.h"

namespace alga::engine {

/// What compiling one component may use.
struct CompileBounds {
  ChildTime time;
  std::uint64_t memory = 0;  ///< bytes of address space; 0: as much as a worker takes unasked
};

/// Runs `<self> compile-worker` from `input` to `output`, both files, until `stop` is requested at
/// the latest. Blocks. Errors: `engine.bad_component`, `engine.link_error`,
/// `engine.compile_too_expensive` when it used up its processor time or memory, and
/// `engine.unavailable`, with advice when to come back, when it was ended before.
[[nodiscard]] Status compile_component(const std::filesystem::path& self, const File& input,
                                       const File& output, const CompileBounds& bounds,
                                       const std::stop_token& stop = {});

}  // namespace alga::engine
