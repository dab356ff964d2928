#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"
#include "crypto/digest.h"

namespace alga::httpd {

/// A temporary file (mode 0600) that a body is written to while it is hashed; removed with the
/// object. Its calls block: use them on the blocking pool, one at a time.
class SpoolFile {
 public:
  /// Error: `http.spool_failed` (unavailable).
  [[nodiscard]] static Result<std::shared_ptr<SpoolFile>> create(const std::string& folder);
  ~SpoolFile();
  SpoolFile(const SpoolFile&) = delete;
  SpoolFile& operator=(const SpoolFile&) = delete;

  [[nodiscard]] Status append(std::string_view bytes);
  /// SHA-256 of everything appended, lower-case hex; call once, at the end.
  [[nodiscard]] std::string digest() { return hash_.finish_hex(); }
  [[nodiscard]] const std::string& path() const [[clang::lifetimebound]] { return path_; }

 private:
  SpoolFile(int descriptor, std::string path) : descriptor_(descriptor), path_(std::move(path)) {}
  int descriptor_;
  std::string path_;
  crypto::Sha256 hash_;
};

/// A regular file being served; the open descriptor keeps its content when the name goes away.
/// Calls block.
class ServedFile {
 public:
  /// Error: `http.not_found`.
  [[nodiscard]] static Result<std::shared_ptr<ServedFile>> open(const std::string& path);
  ~ServedFile();
  ServedFile(const ServedFile&) = delete;
  ServedFile& operator=(const ServedFile&) = delete;

  [[nodiscard]] std::uint64_t size() const { return size_; }
  /// Exactly `length` bytes from `offset`; an error when the file has shrunk.
  [[nodiscard]] Result<std::string> read(std::uint64_t offset, std::size_t length) const;

 private:
  ServedFile(int descriptor, std::uint64_t size) : descriptor_(descriptor), size_(size) {}
  int descriptor_;
  std::uint64_t size_;
};

struct ByteRange {
  std::uint64_t first = 0;
  std::uint64_t length = 0;
};
struct Unsatisfiable {};

/// A Range header (RFC 9110 section 14) against a body of `size` bytes: one byte range. None, that
/// is the whole body, for other units, several ranges or anything malformed.
[[nodiscard]] std::expected<std::optional<ByteRange>, Unsatisfiable> parse_range(
    std::string_view header, std::uint64_t size);

/// Whether an If-None-Match list holds `etag` (weak comparison) or is `*`.
[[nodiscard]] bool matches_etag(std::string_view list, std::string_view etag);

}  // namespace alga::httpd
