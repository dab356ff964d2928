#include "archive/tree_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <system_error>

#include "archive/extract.h"

namespace alga::archive {
namespace {

constexpr std::string_view kUnfinishedPrefix = ".unpack-";
constexpr int kOpenDirectory = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

}  // namespace

bool is_unfinished(std::string_view name) { return name.starts_with(kUnfinishedPrefix); }

Result<TreeWriter> TreeWriter::create(const std::filesystem::path& destination, Random& random) {
  TreeWriter writer;
  writer.parent_path_ =
      destination.parent_path().empty() ? "." : destination.parent_path().string();
  writer.destination_name_ = destination.filename().string();
  writer.parent_ =
      FileDescriptor(::open(writer.parent_path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!writer.parent_.valid()) return fail(io_error(errno, "open the parent directory"));

  struct stat existing{};
  if (::fstatat(writer.parent_.get(), writer.destination_name_.c_str(), &existing,
                AT_SYMLINK_NOFOLLOW) == 0) {
    return fail(Kind::conflict, "archive.destination_exists", "the destination exists already");
  }
  std::array<std::uint8_t, 8> suffix{};
  random.fill(suffix);
  const std::string name = std::string(kUnfinishedPrefix) + hex_encode(suffix);
  if (::mkdirat(writer.parent_.get(), name.c_str(), 0700) != 0) {
    return fail(io_error(errno, "make a temporary directory"));
  }
  writer.temporary_name_ = name;
  writer.root_ = FileDescriptor(::openat(writer.parent_.get(), name.c_str(), kOpenDirectory));
  if (!writer.root_.valid()) return fail(io_error(errno, "open a temporary directory"));
  return writer;
}

TreeWriter::~TreeWriter() {
  if (!parent_.valid() || temporary_name_.empty()) return;
  std::error_code ignored;
  std::filesystem::remove_all(std::filesystem::path(parent_path_) / temporary_name_, ignored);
}

Result<int> TreeWriter::open_directory(std::string_view path) {
  if (path.empty()) return root_.get();
  if (current_.valid() && path == current_path_) return current_.get();
  FileDescriptor directory;
  int at = root_.get();
  for (std::string_view rest = path; !rest.empty();) {
    const std::size_t slash = rest.find('/');
    const std::string segment(rest.substr(0, slash));
    if (::mkdirat(at, segment.c_str(), 0700) != 0 && errno != EEXIST) {
      return fail(io_error(errno, "make a directory"));
    }
    FileDescriptor next(::openat(at, segment.c_str(), kOpenDirectory));
    if (!next.valid()) return fail(io_error(errno, "open a directory"));
    directory = std::move(next);
    at = directory.get();
    rest = slash == std::string_view::npos ? std::string_view{} : rest.substr(slash + 1);
  }
  current_ = std::move(directory);
  current_path_ = path;
  return current_.get();
}

Status TreeWriter::make_directory(std::string_view path) {
  TRY_VOID(open_directory(path));
  return {};
}

Result<FileDescriptor> TreeWriter::create_file(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  const std::string_view parent =
      slash == std::string_view::npos ? std::string_view{} : path.substr(0, slash);
  const std::string name(slash == std::string_view::npos ? path : path.substr(slash + 1));
  TRY(const int directory, open_directory(parent));
  FileDescriptor file(::openat(directory, name.c_str(),
                               O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file.valid()) return fail(io_error(errno, "create a file"));
  return file;
}

Status TreeWriter::commit() {
  // One flush for the whole tree: a marker must never survive a power cut that its files did not.
  if (::syncfs(root_.get()) != 0) return fail(io_error(errno, "flush"));
  const char* from = temporary_name_.c_str();
  const char* to = destination_name_.c_str();
  int moved = ::renameat2(parent_.get(), from, parent_.get(), to, RENAME_NOREPLACE);
  // A file system without RENAME_NOREPLACE: a plain rename still refuses a directory with content.
  if (moved != 0 && errno == EINVAL) moved = ::renameat(parent_.get(), from, parent_.get(), to);
  if (moved != 0 && (errno == EEXIST || errno == ENOTEMPTY)) {
    return fail(Kind::conflict, "archive.destination_exists", "the destination exists already");
  }
  if (moved != 0) return fail(io_error(errno, "rename into place"));
  temporary_name_.clear();
  if (::fsync(parent_.get()) != 0) return fail(io_error(errno, "flush the parent directory"));
  return {};
}

}  // namespace alga::archive
