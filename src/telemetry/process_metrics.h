#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

// What the kernel says of this process, under the names that Prometheus' client libraries use.

namespace alga::telemetry {

/// A reading of /proc/self.
struct ProcessUse {
  std::uint64_t resident_bytes = 0, virtual_bytes = 0;
  std::uint64_t open_files = 0, most_open_files = 0;
  std::uint64_t threads = 0;
  double cpu_seconds = 0;
  double start_seconds = 0;  ///< since 1970; a hundredth of a second is the finest step
};

/// Nothing when /proc cannot be read. Thread-safe.
[[nodiscard]] std::optional<ProcessUse> read_process_use();

/// Since this process was started, that is before main(); zero when it cannot be known.
[[nodiscard]] std::chrono::duration<double> process_age();

}  // namespace alga::telemetry
