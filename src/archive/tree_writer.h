#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

#include "base/bytes.h"
#include "base/random.h"
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

/// Builds a directory tree beside its destination and renames it into place as a whole. No path
/// component is ever followed through a link: each is opened relative to its parent with
/// O_NOFOLLOW. Destroyed without commit(), it removes what it wrote. Errors: `archive.io`,
/// `archive.disk_full`, `archive.destination_exists`.
class TreeWriter {
 public:
  [[nodiscard]] static Result<TreeWriter> create(const std::filesystem::path& destination,
                                                 Random& random);
  TreeWriter(TreeWriter&&) = default;
  TreeWriter& operator=(TreeWriter&&) = delete;
  ~TreeWriter();

  /// Makes the directory and its parents; fine when they exist. `path` is an EntryPath.
  Status make_directory(std::string_view path);
  /// Creates the file, which must not exist, and its parents.
  Result<FileDescriptor> create_file(std::string_view path);
  /// Flushes the file system once and renames the tree to the destination.
  Status commit();

 private:
  TreeWriter() = default;
  Result<int> open_directory(std::string_view path);

  FileDescriptor parent_;
  FileDescriptor root_;
  std::string parent_path_, temporary_name_, destination_name_;
  FileDescriptor current_;    ///< the directory of the last file
  std::string current_path_;  ///< and its path
};

/// Writes all bytes; `archive.disk_full` or `archive.io`.
Status write_all(int fd, ByteSpan bytes);

}  // namespace alga::archive
