#pragma once

#include <string_view>
#include <utility>

#include "base/bytes.h"
#include "base/result.h"

namespace alga::archive {

/// Owns a file descriptor.
class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  ~FileDescriptor();
  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] bool valid() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

/// An errno as `archive.disk_full` or `archive.io`.
[[nodiscard]] Error io_error(int error, std::string_view action);

/// Writes all bytes; errors as io_error().
Status write_all(int fd, ByteSpan bytes);

}  // namespace alga::archive
