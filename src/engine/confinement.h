// What a process that reads untrusted components may still do.
#pragma once

#include <cstdint>

namespace alga::engine {

/// Bounds of a worker.
struct WorkerBounds {
  std::uint64_t address_space = 0;  ///< bytes; 0: no bound (sanitizers reserve more than any)
  std::uint64_t cpu_s = 0;          ///< of all threads; then SIGXCPU ends it
  std::uint64_t file_bytes = 0;     ///< of one file that it writes
};

/// Takes from this process, for good, everything but computing: what it may use is bounded, it ends
/// with its parent, and the kernel refuses it sockets, other processes, programs, and files that it
/// would make or change. It keeps its open descriptors, reads files, and starts threads. False when
/// any of that could not be had; the caller must then end.
[[nodiscard]] bool confine_worker(const WorkerBounds& bounds);

}  // namespace alga::engine
