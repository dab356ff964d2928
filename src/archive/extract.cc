#include "archive/extract.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <memory>
#include <set>
#include <system_error>

#include "archive/entry_path.h"
#include "archive/file.h"
#include "archive/tar_stream.h"
#include "archive/tree_writer.h"
#include "crypto/digest.h"

namespace alga::archive {
namespace {

constexpr std::string_view kIndexName = ".ready";
constexpr std::string_view kIndexHeader = "alga-bundle-index 1\n";
constexpr std::uint64_t kMaxIndexBytes = 64ULL << 20U;
constexpr std::size_t kPieceBytes = 128U << 10U;

Result<ExtractedFile> write_file(TarStream& tar, TreeWriter& tree, std::string path) {
  TRY(const FileDescriptor file, tree.create_file(path));
  crypto::Sha256 digest;
  std::uint64_t size = 0;
  for (;;) {
    TRY(const ByteSpan piece, tar.data());
    if (piece.empty()) break;
    digest.update(piece);
    size += piece.size();
    TRY_VOID(write_all(file.get(), piece));
  }
  return ExtractedFile{std::move(path), size, digest.finish_hex()};
}

Status extract_entry(TarStream& tar, const TarStream::Entry& entry, TreeWriter& tree,
                     PathRegistry& paths, ExtractedBundle& bundle) {
  TRY(EntryPath path, parse_entry_path(entry.name));
  if (path.path.empty()) {
    if (entry.directory) return {};
    return fail(Kind::invalid, "archive.invalid_path", "a file has the name of the root");
  }
  if (path.hidden) {
    bundle.skipped.push_back(std::move(path.path));
    return {};
  }
  using Type = PathRegistry::Type;
  TRY_VOID(paths.add(path.path, entry.directory ? Type::directory : Type::file));
  if (entry.directory) return tree.make_directory(path.path);
  TRY(ExtractedFile file, write_file(tar, tree, std::move(path.path)));
  bundle.unpacked_bytes += file.size;
  bundle.files.push_back(std::move(file));
  return {};
}

Status write_index(TreeWriter& tree, const ExtractedBundle& bundle) {
  std::string text(kIndexHeader);
  for (const ExtractedFile& file : bundle.files) {
    text += file.sha256 + ' ' + std::to_string(file.size) + ' ' + file.path + '\n';
  }
  text += "end " + std::to_string(bundle.files.size()) + '\n';
  TRY(const FileDescriptor file, tree.create_file(kIndexName));
  return write_all(file.get(), as_bytes(text));
}

std::unexpected<Error> too_many_entries(const Limits& limits) {
  return fail(Kind::too_large, "archive.too_many_entries",
              "more than " + std::to_string(limits.entries) + " entries");
}

std::unexpected<Error> not_ready(std::string_view why) {
  return fail(Kind::not_found, "archive.not_ready", "no extracted bundle: " + std::string(why));
}

std::optional<std::uint64_t> parse_number(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

/// `<64 hex> <size> <path>`
std::optional<ExtractedFile> parse_index_line(std::string_view line) {
  constexpr std::size_t kDigest = 64;
  if (line.size() < kDigest + 4 || line[kDigest] != ' ') return std::nullopt;
  const std::size_t space = line.find(' ', kDigest + 1);
  if (space == std::string_view::npos) return std::nullopt;
  const auto size = parse_number(line.substr(kDigest + 1, space - kDigest - 1));
  const auto path = parse_entry_path(line.substr(space + 1));
  if (!size || !path || path->path.empty() || path->hidden) return std::nullopt;
  return ExtractedFile{path->path, *size, std::string(line.substr(0, kDigest))};
}

Result<std::string> read_small_file(const std::filesystem::path& path, std::uint64_t limit) {
  TRY(ByteSource source, file_source(path));
  std::string text;
  for (;;) {
    TRY(const ByteSpan piece, source());
    if (piece.empty()) return text;
    if (text.size() + piece.size() > limit) return not_ready("the index is too large");
    text += as_text(piece);
  }
}

}  // namespace

const ExtractedFile* ExtractedBundle::find(std::string_view path) const {
  const auto found = std::ranges::lower_bound(files, path, {}, &ExtractedFile::path);
  return found != files.end() && found->path == path ? &*found : nullptr;
}

Result<ByteSource> file_source(const std::filesystem::path& file) {
  FileDescriptor fd(::open(file.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd.valid()) {
    return fail(io_error(errno, "open"));
  }
  auto buffer = std::make_unique<std::array<std::uint8_t, kPieceBytes>>();
  return [fd = std::move(fd), buffer = std::move(buffer)]() -> Result<ByteSpan> {
    for (;;) {
      const ssize_t size = ::read(fd.get(), buffer->data(), buffer->size());
      if (size >= 0) return ByteSpan{buffer->data(), static_cast<std::size_t>(size)};
      if (errno != EINTR) {
        return fail(io_error(errno, "read"));
      }
    }
  };
}

Result<ExtractedBundle> extract_bundle(ByteSource source, const std::filesystem::path& destination,
                                       const Limits& limits, Random& random) {
  TRY(const auto tar, TarStream::open(std::move(source), limits));
  TRY(TreeWriter tree, TreeWriter::create(destination, random));
  ExtractedBundle bundle;
  PathRegistry paths;
  std::uint32_t entries = 0;
  for (;;) {
    TRY(const auto entry, tar->next());
    if (!entry) break;
    if (++entries > limits.entries) return too_many_entries(limits);
    TRY_VOID(extract_entry(*tar, *entry, tree, paths, bundle));
  }
  std::ranges::sort(bundle.files, {}, &ExtractedFile::path);
  TRY_VOID(write_index(tree, bundle));
  TRY_VOID(tree.commit());
  return bundle;
}

std::uint64_t disk_bytes(const ExtractedBundle& bundle) {
  constexpr std::uint64_t block = 4096;
  const auto whole = [](std::uint64_t bytes) { return (bytes + block - 1) / block * block; };
  std::set<std::string_view> directories;
  std::uint64_t index = 0;
  std::uint64_t bytes = 2 * block;  // its own directory, and who may have it
  for (const ExtractedFile& file : bundle.files) {
    const std::string_view path = file.path;
    bytes += whole(file.size);
    index += path.size() + 100;
    for (auto slash = path.find('/'); slash != path.npos; slash = path.find('/', slash + 1)) {
      directories.insert(path.substr(0, slash));
    }
  }
  return bytes + whole(index) + directories.size() * block;
}

Result<std::uint64_t> disk_bytes(ByteSource source, const Limits& limits) {
  TRY(const auto tar, TarStream::open(std::move(source), limits));
  ExtractedBundle bundle;
  std::uint32_t entries = 0;
  for (;;) {
    TRY(const auto entry, tar->next());
    if (!entry) return disk_bytes(bundle);
    if (++entries > limits.entries) return too_many_entries(limits);
    if (!entry->directory) bundle.files.push_back({entry->name, entry->size, {}});
  }
}

Result<ExtractedBundle> read_index(const std::filesystem::path& directory) {
  const auto text = read_small_file(directory / kIndexName, kMaxIndexBytes);
  if (!text) return not_ready(text.error().message);
  std::string_view rest = *text;
  if (!rest.starts_with(kIndexHeader)) return not_ready("unknown index");
  rest.remove_prefix(kIndexHeader.size());

  ExtractedBundle bundle;
  while (!rest.empty()) {
    const std::size_t newline = rest.find('\n');
    if (newline == std::string_view::npos) return not_ready("the index is cut off");
    const std::string_view line = rest.substr(0, newline);
    rest.remove_prefix(newline + 1);
    if (line == "end " + std::to_string(bundle.files.size()) && rest.empty()) return bundle;
    auto file = parse_index_line(line);
    if (!file) return not_ready("the index is damaged");
    bundle.unpacked_bytes += file->size;
    bundle.files.push_back(std::move(*file));
  }
  return not_ready("the index is cut off");
}

}  // namespace alga::archive
