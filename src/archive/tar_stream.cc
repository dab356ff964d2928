#include "archive/tar_stream.h"

#include <archive.h>
#include <archive_entry.h>
#include <locale.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

#include "archive/header_guard.h"

namespace alga::archive {
namespace {

constexpr std::size_t kTarBlock = 512;
constexpr std::size_t kPieceBytes = 128U << 10U;

Error zstd_error(std::size_t code) {
  switch (ZSTD_getErrorCode(code)) {
    case ZSTD_error_frameParameter_windowTooLarge:
      return {Kind::too_large, "archive.window_too_large",
              "the zstd window is larger than this server decodes"};
    case ZSTD_error_prefix_unknown:
      return {Kind::invalid, "archive.not_zstd", "the archive is not compressed with zstd"};
    case ZSTD_error_memory_allocation:
      return {Kind::unavailable, "archive.no_memory", "no memory for the zstd decoder"};
    default:
      return {Kind::invalid, "archive.corrupt", std::string("zstd: ") + ZSTD_getErrorName(code)};
  }
}

}  // namespace

/// Decompresses exactly one frame and counts both sides of it. libarchive's own zstd filter would
/// accept any window and any number of frames, and would not notice bytes behind the last one.
class TarStream::Decoder {
 public:
  Decoder(ByteSource source, const Limits& limits)
      : source_(std::move(source)), limits_(limits), context_(ZSTD_createDCtx()) {
    if (context_ != nullptr) {
      ZSTD_DCtx_setParameter(context_.get(), ZSTD_d_windowLogMax, limits.window_log);
    }
  }

  /// The next piece of the tar stream; empty at its end.
  Result<ByteSpan> read() {
    if (error_) return fail(*error_);
    auto piece = decompress();
    if (!piece) {
      error_ = piece.error();
      return piece;
    }
    produced_ += piece->size();
    if (produced_ > limits_.unpacked_bytes) {
      error_ = Error{
          Kind::too_large, "archive.unpacked_too_large",
          "the archive unpacks to more than " + std::to_string(limits_.unpacked_bytes) + " bytes"};
      return fail(*error_);
    }
    for (const std::uint8_t byte : *piece) zeros_ = byte == 0 ? zeros_ + 1 : 0;
    recent_ += as_text(*piece);
    ended_ = piece->empty();
    return piece;
  }

  [[nodiscard]] const std::optional<Error>& error() const { return error_; }
  [[nodiscard]] bool ended() const { return ended_; }
  [[nodiscard]] std::uint64_t produced() const { return produced_; }
  /// How many zero bytes the stream ends with so far.
  [[nodiscard]] std::uint64_t trailing_zeros() const { return zeros_; }

  /// The bytes of the tar stream in [from, to); forgets everything before `to`. libarchive bounds
  /// its headers, so what is kept is a few pieces.
  std::string take(std::uint64_t from, std::uint64_t to) {
    const std::uint64_t start = produced_ - recent_.size();
    if (from < start || to > produced_ || from > to) return {};
    std::string bytes = recent_.substr(from - start, to - from);
    recent_.erase(0, to - start);
    return bytes;
  }

 private:
  struct Free {
    void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
  };

  Result<ByteSpan> decompress() {
    if (context_ == nullptr) {
      return fail(Kind::unavailable, "archive.no_memory", "no memory for the zstd decoder");
    }
    ZSTD_outBuffer out{output_.data(), output_.size(), 0};
    while (out.pos == 0 && !frame_done_) {
      if (input_.empty()) TRY_VOID(refill());
      if (input_.empty()) {
        return fail(Kind::invalid, "archive.truncated", "the zstd frame is not complete");
      }
      ZSTD_inBuffer in{input_.data(), input_.size(), 0};
      const std::size_t left = ZSTD_decompressStream(context_.get(), &out, &in);
      if (ZSTD_isError(left) != 0) return fail(zstd_error(left));
      input_ = input_.subspan(in.pos);
      frame_done_ = left == 0;
    }
    if (out.pos == 0) {
      if (input_.empty()) TRY_VOID(refill());
      if (!input_.empty()) {
        return fail(Kind::invalid, "archive.trailing_data", "bytes follow the zstd frame");
      }
    }
    return ByteSpan{output_.data(), out.pos};
  }

  Status refill() {
    TRY(input_, source_());
    consumed_ += input_.size();
    if (consumed_ > limits_.archive_bytes) {
      return fail(Kind::too_large, "archive.too_large",
                  "the archive is larger than " + std::to_string(limits_.archive_bytes) + " bytes");
    }
    return {};
  }

  ByteSource source_;
  Limits limits_;
  std::unique_ptr<ZSTD_DCtx, Free> context_;
  std::vector<std::uint8_t> output_ = std::vector<std::uint8_t>(kPieceBytes);
  ByteSpan input_;
  bool frame_done_ = false;
  bool ended_ = false;
  std::uint64_t consumed_ = 0;
  std::uint64_t produced_ = 0;
  std::uint64_t zeros_ = 0;
  std::string recent_;
  std::optional<Error> error_;
};

/// Made once and kept until the process ends: loading it costs more than reading a small entry.
/// Null where the system has none.
locale_t utf8_locale() {
  static const locale_t kept = ::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
  return kept;
}

/// libarchive converts pax names to the locale's character set and fails for the C locale. This
/// makes the thread's locale UTF-8 for a while.
class Utf8Locale {
 public:
  Utf8Locale() {
    if (const locale_t utf8 = utf8_locale(); utf8 != nullptr) before_ = ::uselocale(utf8);
  }
  Utf8Locale(const Utf8Locale&) = delete;
  Utf8Locale& operator=(const Utf8Locale&) = delete;
  ~Utf8Locale() {
    if (before_ != nullptr) ::uselocale(before_);
  }

 private:
  locale_t before_ = nullptr;
};

struct TarStream::Reader {
  ::archive* handle = archive_read_new();
  Reader() = default;
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  ~Reader() { archive_read_free(handle); }

  static la_ssize_t read(::archive* handle, void* data, const void** buffer) {
    auto& decoder = *static_cast<Decoder*>(data);
    auto piece = decoder.read();
    if (!piece) {
      archive_set_error(handle, EILSEQ, "see Decoder::error");
      return -1;
    }
    *buffer = piece->data();
    return static_cast<la_ssize_t>(piece->size());
  }
};

TarStream::TarStream(ByteSource source, const Limits& limits)
    : decoder_(std::make_unique<Decoder>(std::move(source), limits)),
      reader_(std::make_unique<Reader>()) {}

TarStream::~TarStream() = default;

Result<std::unique_ptr<TarStream>> TarStream::open(ByteSource source, const Limits& limits) {
  std::unique_ptr<TarStream> stream(new TarStream(std::move(source), limits));
  TRY_VOID(stream->start());
  return stream;
}

Status TarStream::start() {
  const Utf8Locale utf8;
  ::archive* handle = reader_->handle;
  if (handle == nullptr) return fail(Kind::unavailable, "archive.no_memory", "no memory");
  archive_read_support_format_tar(handle);
  archive_read_support_filter_none(handle);
  // Names of headers without a declared character set stay the bytes that they are.
  archive_read_set_options(handle, "tar:hdrcharset=BINARY,tar:!mac-ext");
  if (archive_read_open(handle, decoder_.get(), nullptr, &Reader::read, nullptr) != ARCHIVE_OK) {
    return fail(failure());
  }
  return {};
}

Error TarStream::failure() const {
  if (const auto& error = decoder_->error()) return *error;
  if (decoder_->ended()) {
    return {Kind::invalid, "archive.truncated", "the tar archive ends too early"};
  }
  const char* text = archive_error_string(reader_->handle);
  return {Kind::invalid, "archive.corrupt",
          std::string("tar: ") + (text != nullptr ? text : "unreadable")};
}

Result<std::optional<TarStream::Entry>> TarStream::next() {
  // Also what the caller did not want, so that it is forgotten piece by piece.
  while (file_offset_ < file_size_) TRY_VOID(data());
  const Utf8Locale utf8;
  archive_entry* entry = nullptr;
  const int status = archive_read_next_header(reader_->handle, &entry);
  if (status == ARCHIVE_EOF) {
    TRY_VOID(finish());
    return std::nullopt;
  }
  if (status != ARCHIVE_OK) return fail(failure());
  const std::string headers =
      decoder_->take(static_cast<std::uint64_t>(archive_read_header_position(reader_->handle)),
                     static_cast<std::uint64_t>(archive_filter_bytes(reader_->handle, 0)));
  TRY_VOID(check_raw_headers(as_bytes(headers)));

  const char* name = archive_entry_pathname(entry);
  Entry result{.name = name != nullptr ? name : ""};
  if (archive_entry_hardlink(entry) != nullptr || archive_entry_symlink(entry) != nullptr) {
    return fail(Kind::invalid, "archive.link_entry", "links are not allowed in a bundle");
  }
  switch (archive_entry_filetype(entry)) {
    case AE_IFREG: break;
    case AE_IFDIR: result.directory = true; break;
    case AE_IFLNK: return fail(Kind::invalid, "archive.link_entry", "links are not allowed");
    default:
      return fail(Kind::invalid, "archive.special_entry",
                  "only regular files and directories are allowed in a bundle");
  }
  if (archive_entry_sparse_count(entry) > 0) {
    return fail(Kind::invalid, "archive.sparse_entry", "sparse files are not allowed");
  }
  const la_int64_t size = archive_entry_size_is_set(entry) != 0 ? archive_entry_size(entry) : 0;
  if (size < 0) return fail(Kind::invalid, "archive.corrupt", "an entry has a negative size");
  result.size = static_cast<std::uint64_t>(size);
  file_size_ = result.size;
  file_offset_ = 0;
  return result;
}

Result<ByteSpan> TarStream::data() {
  const void* buffer = nullptr;
  std::size_t size = 0;
  la_int64_t offset = 0;
  const int status = archive_read_data_block(reader_->handle, &buffer, &size, &offset);
  if (status == ARCHIVE_EOF) {
    if (file_offset_ != file_size_) {
      return fail(Kind::invalid, "archive.truncated", "a file is shorter than its header says");
    }
    return ByteSpan{};
  }
  if (status != ARCHIVE_OK) return fail(failure());
  const auto parsed = static_cast<std::uint64_t>(archive_filter_bytes(reader_->handle, 0));
  decoder_->take(parsed, parsed);
  if (std::cmp_not_equal(offset, file_offset_)) {
    return fail(Kind::invalid, "archive.sparse_entry", "sparse files are not allowed");
  }
  file_offset_ += size;
  return ByteSpan{static_cast<const std::uint8_t*>(buffer), size};
}

/// POSIX ends an archive with two blocks of zeros; writers pad to a record with more of them.
/// libarchive takes the first zero block (or the end of the stream) for the end, so what follows is
/// checked here: anything but zeros would be invisible to us and visible to another reader.
Status TarStream::finish() {
  const auto parsed = static_cast<std::uint64_t>(archive_filter_bytes(reader_->handle, 0));
  while (!decoder_->ended()) TRY_VOID(decoder_->read());
  if (decoder_->produced() % kTarBlock != 0 || decoder_->trailing_zeros() < 2 * kTarBlock) {
    return fail(Kind::invalid, "archive.truncated", "the end-of-archive blocks are missing");
  }
  const std::uint64_t contents = decoder_->produced() - decoder_->trailing_zeros();
  if (contents > parsed) {
    return fail(Kind::invalid, "archive.trailing_data", "bytes follow the end of the tar archive");
  }
  return {};
}

}  // namespace alga::archive
