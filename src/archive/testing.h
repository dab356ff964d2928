#pragma once

#include <unistd.h>
#include <zstd.h>

#include <cstdio>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "archive/extract.h"
#include "base/random.h"

/// For tests of every layer that handles bundles: builds archives byte by byte, hostile ones too.
namespace alga::archive::testing {

class TarBuilder {
 public:
  /// Any entry at all. `declared_size` of -1 takes the size of `content`.
  TarBuilder& entry(char type, std::string_view name, std::string_view content = {},
                    std::string_view link = {}, long long declared_size = -1) {
    std::string header(512, '\0');
    const auto put = [&header](std::size_t at, std::size_t room, std::string_view text) {
      header.replace(at, std::min(room, text.size()), text.substr(0, room));
    };
    put(0, 100, name);
    put(100, 8, "0000644");
    put(108, 8, "0000000");
    put(116, 8, "0000000");
    put(124, 12, octal(declared_size < 0 ? static_cast<long long>(content.size()) : declared_size));
    put(136, 12, "00000000000");
    put(148, 8, "        ");
    header[156] = type;
    put(157, 100, link);
    put(257, 8, std::string_view("ustar\00000", 8));
    unsigned sum = 0;
    for (const char c : header) sum += static_cast<unsigned char>(c);
    char text[8] = {};  // six digits, a zero and a blank, or libarchive takes it for no tar
    std::snprintf(text, sizeof text, "%06o", sum);
    text[7] = ' ';
    put(148, 8, std::string_view(text, sizeof text));
    tar_ += header;
    tar_ += content;
    tar_.append((512 - content.size() % 512) % 512, '\0');
    return *this;
  }
  TarBuilder& file(std::string_view name, std::string_view content = "x") {
    return entry('0', name, content);
  }
  TarBuilder& directory(std::string_view name) { return entry('5', name); }
  /// A pax extended header for the next entry.
  TarBuilder& pax(std::string_view key, std::string_view value) {
    std::size_t length = key.size() + value.size() + 3;
    length += std::to_string(length + std::to_string(length).size()).size();
    std::string record = std::to_string(length) + ' ';
    record.append(key).append("=").append(value).append("\n");
    return entry('x', "PaxHeaders/x", record);
  }
  TarBuilder& raw(std::string_view bytes) {
    tar_ += bytes;
    return *this;
  }
  /// With the two closing blocks.
  [[nodiscard]] std::string tar() const { return tar_ + std::string(1024, '\0'); }
  [[nodiscard]] std::string tar_without_end() const { return tar_; }
  [[nodiscard]] std::string zst() const;

 private:
  static std::string octal(long long value) {
    char text[16];
    std::snprintf(text, sizeof text, "%011llo", value);
    return text;
  }
  std::string tar_;
};

/// One zstd frame; `window_log` of 0 lets zstd choose.
[[nodiscard]] inline std::string zstd(std::string_view bytes, int window_log = 0) {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, 3);
  if (window_log != 0) {
    ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, window_log);
    ZSTD_CCtx_setParameter(context, ZSTD_c_enableLongDistanceMatching, 0);
    ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
  }
  std::string out(ZSTD_compressBound(bytes.size()) + 64, '\0');
  // Streaming in two steps, so that the frame header keeps the window asked for.
  ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
  ZSTD_outBuffer to{out.data(), out.size(), 0};
  ZSTD_inBuffer first{bytes.data(), bytes.empty() ? 0U : 1U, 0};
  std::size_t left = ZSTD_compressStream2(context, &to, &first, ZSTD_e_continue);
  in.pos = first.pos;
  while (!ZSTD_isError(left)) {
    left = ZSTD_compressStream2(context, &to, &in, ZSTD_e_end);
    if (left == 0) break;
  }
  ZSTD_freeCCtx(context);
  if (ZSTD_isError(left) != 0) throw std::runtime_error(ZSTD_getErrorName(left));
  out.resize(to.pos);
  return out;
}

inline std::string TarBuilder::zst() const { return zstd(tar()); }

/// Gives `bytes` in pieces of `piece` bytes.
[[nodiscard]] inline ByteSource memory_source(std::string bytes, std::size_t piece = 4096) {
  return [bytes = std::move(bytes), piece, at = std::size_t{0}]() mutable -> Result<ByteSpan> {
    const std::string_view next = std::string_view(bytes).substr(at, piece);
    at += next.size();
    return as_bytes(next);
  };
}

/// A directory of its own, removed with everything in it.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "alga-test-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
    path_ = name;
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace alga::archive::testing
