#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "archive/extract.h"

namespace alga::archive {

/// Reads one zstd frame around one tar archive, entry by entry. Single-threaded.
class TarStream {
 public:
  struct Entry {
    std::string name;  ///< as in the archive
    bool directory = false;
    std::uint64_t size = 0;
  };

  [[nodiscard]] static Result<std::unique_ptr<TarStream>> open(ByteSource source,
                                                               const Limits& limits);
  TarStream(const TarStream&) = delete;
  TarStream& operator=(const TarStream&) = delete;
  ~TarStream();

  /// The next file or directory; none at the end of the archive, when everything behind it has been
  /// read and found to be padding. Any other type of entry is an error.
  Result<std::optional<Entry>> next();
  /// The next piece of the current file, empty at its end; valid until the next call.
  Result<ByteSpan> data();

 private:
  class Decoder;
  struct Reader;
  TarStream(ByteSource source, const Limits& limits);
  Status start();
  Error failure() const;
  Status finish();

  std::unique_ptr<Decoder> decoder_;
  std::unique_ptr<Reader> reader_;
  std::uint64_t file_offset_ = 0;
  std::uint64_t file_size_ = 0;
};

}  // namespace alga::archive
