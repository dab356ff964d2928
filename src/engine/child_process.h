#pragma once

#include <chrono>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace alga::engine {

/// How a worker process ended.
struct ChildOutcome {
  int exit_status = -1;  ///< -1: killed by a signal
  int signal = 0;
  bool timed_out = false;
  std::string errors;  ///< at most 4 KiB of what it wrote to fd 2
};

/// Runs `program arguments…` with fd 0 = `input`, fd 1 = `output`, a pipe as fd 2, no other
/// descriptor and only the variables (`NAME=value`) of `environment`; kills it at the timeout and
/// waits for it. Blocks. Error: `engine.unavailable` when it cannot be started, or when it cannot
/// be known how it ended.
[[nodiscard]] Result<ChildOutcome> run_child(const std::filesystem::path& program,
                                             const std::vector<std::string>& arguments, int input,
                                             int output, std::chrono::milliseconds timeout,
                                             const std::vector<std::string>& environment = {});

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
