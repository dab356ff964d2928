#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/random.h"
#include "base/result.h"

namespace alga::archive {

/// Bounds of one extraction. Each is checked before the bytes in question are kept anywhere.
struct Limits {
  std::uint64_t archive_bytes = 64ULL << 20U;    ///< compressed
  std::uint64_t unpacked_bytes = 256ULL << 20U;  ///< the tar stream, headers included
  std::uint32_t entries = 10'000;                ///< files, directories and skipped ones together
  /// log2 of the zstd window that a decoder must hold in memory. 25 (32 MiB) takes everything up to
  /// `zstd --ultra -20`; the bundles of the CLI need 23.
  int window_log = 25;
};

/// Longest path in bytes, longest segment in bytes, deepest nesting.
inline constexpr std::size_t kMaxPathBytes = 1024;
inline constexpr std::size_t kMaxSegmentBytes = 255;
inline constexpr std::size_t kMaxDepth = 32;

/// A regular file as it was written, with its digest taken while it was written.
struct ExtractedFile {
  std::string path;  ///< relative, `/`-separated, UTF-8
  std::uint64_t size = 0;
  std::string sha256;  ///< lower-case hex
};

/// What an archive contained. `files` is sorted by path.
struct ExtractedBundle {
  std::vector<ExtractedFile> files;
  std::vector<std::string> skipped;  ///< hidden entries (`.DS_Store`, `.git/…`): never extracted
  std::uint64_t unpacked_bytes = 0;  ///< sum of the sizes of `files`

  /// None when there is no such file.
  [[nodiscard]] const ExtractedFile* find(std::string_view path) const [[clang::lifetimebound]];
};

/// Gives the next piece of the compressed archive; an empty piece ends it. The piece must stay
/// valid until the next call.
using ByteSource = std::move_only_function<Result<ByteSpan>()>;

/// Reads a file in pieces; the file stays open as long as the source lives. Error: `archive.io`.
[[nodiscard]] Result<ByteSource> file_source(const std::filesystem::path& file);

/// Unpacks a `bundle.tar.zst` (one zstd frame around one tar or pax archive) to the directory
/// `destination`, which must not exist and whose parent must.
///
/// Only regular files and directories are taken; a leading `./` is dropped; entries with a hidden
/// segment are skipped. Everything else that is unusual is refused: links, devices, absolute paths,
/// `..`, control characters, names that are too long, twice the same name (also by case), sparse
/// files, truncated archives and bytes behind the end. Files are written below a private directory
/// beside the destination, flushed once, and renamed into place with a `.ready` index inside; after
/// a failure nothing is left. Owners, modes and times of the archive are ignored.
///
/// Blocks: use it on the blocking pool. Errors: `archive.*` as listed in schema/error-codes.json.
[[nodiscard]] Result<ExtractedBundle> extract_bundle(ByteSource source,
                                                     const std::filesystem::path& destination,
                                                     const Limits& limits, Random& random);

/// About what a bundle takes of a disk: its files and directories, rounded up to blocks of 4 KiB.
[[nodiscard]] std::uint64_t disk_bytes(const ExtractedBundle& bundle);
/// The same of one that is not extracted yet; reads the whole archive. Blocks. Errors: as
/// extract_bundle().
[[nodiscard]] Result<std::uint64_t> disk_bytes(ByteSource source, const Limits& limits);

/// Reads the `.ready` index of an extracted bundle. `archive.not_ready` when the directory is not a
/// completely extracted bundle. The files themselves are not read again.
[[nodiscard]] Result<ExtractedBundle> read_index(const std::filesystem::path& directory);

/// Whether `name` is a private directory of an unfinished extraction, to be swept after a crash.
[[nodiscard]] bool is_unfinished(std::string_view name);

}  // namespace alga::archive
