// Whether slots of the pool keep their memory between two executions (docs/adr/0012).
#pragma once

#include <cstdint>
#include <filesystem>

namespace alga::engine {

/// Of each linear memory, with pages kept: a JavaScript guest begins with 9 MiB.
inline constexpr std::uint64_t kept_bytes_per_slot = std::uint64_t{16} << 20U;

/// What the operator wants.
enum class KeepPages : std::uint8_t {
  automatic,  ///< when all slots together need at most a quarter of the memory
  on,
  off,
};

/// Bytes of memory that this process may use: what the machine has, or less where a control group
/// (version 2 or 1) of this process or of one above it allows less. 0 when that cannot be read.
/// `root` is where /proc and /sys are looked for.
std::uint64_t memory_of_process(const std::filesystem::path& root = "/");

/// Whether `slots` slots keep their pages when the process may use `memory` bytes.
bool keeps_pages(KeepPages wanted, std::uint64_t slots, std::uint64_t memory);

}  // namespace alga::engine
