#pragma once

#include <chrono>
#include <filesystem>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace alga::engine {

/// The time of a worker process. Processor time is what the work costs and decides whether it is
/// too expensive; the clock is there for a process that does not get on, and says nothing about its
/// work.
struct ChildTime {
  std::chrono::milliseconds processor;  ///< of all its threads
  std::chrono::milliseconds wall;
};

/// That processor time, and four times as much of the clock: a worker is niced, and other processes
/// may leave it little of a processor.
[[nodiscard]] constexpr ChildTime patient(std::chrono::milliseconds processor) {
  return {processor, 4 * processor};
}

/// How a worker process ended.
struct ChildOutcome {
  int exit_status = -1;  ///< -1: killed by a signal
  int signal = 0;
  bool timed_out = false;  ///< its time by the clock was over
  bool spent = false;      ///< it used up its processor time
  bool stopped = false;    ///< killed because who ran it is stopping
  std::string errors;      ///< at most 4 KiB of what it wrote to fd 2

  /// Ended by others before its work or its processor time was: it did not get on in time, who ran
  /// it is stopping, or somebody killed it, as the kernel does when memory is short. Another
  /// attempt may succeed.
  [[nodiscard]] bool interrupted() const;
};

/// Advice to who asked for something that an interrupted worker could not do.
inline constexpr std::uint32_t retry_after_interrupted_s = 30;

/// Runs `program arguments…` with fd 0 = `input`, fd 1 = `output`, a pipe as fd 2, no other
/// descriptor and only the variables (`NAME=value`) of `environment` and `worker_cpu_variable`;
/// kills it when its time by the clock is over or `stop` is requested, and waits for it. Blocks.
/// Error: `engine.unavailable` when it cannot be started, or when it cannot be known how it ended.
[[nodiscard]] Result<ChildOutcome> run_child(const std::filesystem::path& program,
                                             const std::vector<std::string>& arguments, int input,
                                             int output, ChildTime time,
                                             const std::vector<std::string>& environment = {},
                                             const std::stop_token& stop = {});

/// Whole seconds of processor time, rounded up, after which a worker has the kernel end it.
inline constexpr std::string_view worker_cpu_variable = "ALGA_WORKER_CPU";
/// Bytes of address space that a compile process gives itself at most; absent: 6 GiB.
inline constexpr std::string_view compile_memory_variable = "ALGA_COMPILE_MEMORY";

/// A file descriptor that is closed when it goes. Move-only.
class File {
 public:
  File() = default;
  explicit File(int fd) : fd_(fd) {}
  File(File&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  File& operator=(File&& other) noexcept;
  ~File();
  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] bool is_open() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

}  // namespace alga::engine
