#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "archive/file.h"
#include "base/random.h"
#include "base/result.h"

namespace alga::archive {

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

}  // namespace alga::archive
