#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "base/result.h"

namespace alga::archive {

/// A path of an archive that may be created below a directory: relative, no `.`/`..`, no empty
/// segments, UTF-8 without control characters or backslashes, bounded.
struct EntryPath {
  std::string path;     ///< without leading `./` and trailing `/`; empty is the root itself
  bool hidden = false;  ///< a segment begins with a dot
};

/// Errors: `archive.absolute_path`, `archive.path_traversal`, `archive.invalid_path`,
/// `archive.path_too_long`.
[[nodiscard]] Result<EntryPath> parse_entry_path(std::string_view name);

/// Knows every path of one archive, with the directories that they imply.
class PathRegistry {
 public:
  enum class Type : std::uint8_t { file, directory };
  /// Errors: `archive.duplicate_entry` (the same file twice, a file where a directory is),
  /// `archive.case_collision` (names that differ only in ASCII case).
  Status add(std::string_view path, Type type);

 private:
  Status add_one(std::string_view path, Type type, bool implied);
  struct Known {
    std::string spelling;
    Type type;
  };
  std::map<std::string, Known, std::less<>> by_folded_;
};

}  // namespace alga::archive
