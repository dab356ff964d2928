#include "blob/filesystem_bundle_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <system_error>

#include "archive/extract.h"
#include "archive/file.h"
#include "blob/layout.h"

namespace alga::blob {
namespace {

namespace fs = std::filesystem;
using archive::FileDescriptor;

constexpr const char* kTemporaryPrefix = ".put-";

Error store_error(int error, std::string_view action) {
  const std::string text = std::string(action) + ": " + std::generic_category().message(error);
  switch (error) {
    case ENOENT:
    case ENOTDIR: return {Kind::not_found, "blob.not_found", "no such object"};
    case EACCES:
    case EPERM:
    case EROFS:
    case ELOOP: return {Kind::denied, "blob.denied", text};
    default: return {Kind::unavailable, "blob.unavailable", text};
  }
}

Status flush_directory(const fs::path& path) {
  const FileDescriptor directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid() || ::fsync(directory.get()) != 0) {
    return fail(store_error(errno, "flush a directory"));
  }
  return {};
}

/// Removes the file unless told that it has become the object.
class Temporary {
 public:
  explicit Temporary(fs::path path) : path_(std::move(path)) {}
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;
  ~Temporary() {
    if (!kept_) ::unlink(path_.c_str());
  }
  [[nodiscard]] const fs::path& path() const { return path_; }
  [[nodiscard]] const char* c_str() const { return path_.c_str(); }
  void keep() { kept_ = true; }

 private:
  fs::path path_;
  bool kept_ = false;
};

/// Creates the file and its directories. A remove() beside us may prune a directory that we have
/// just seen or made, so it tries again.
Result<FileDescriptor> create(const fs::path& path) {
  int last = 0;
  for (int attempt = 0; attempt < 100; ++attempt) {
    std::error_code error;
    fs::create_directories(path.parent_path(), error);
    last = error.value();
    // It was there when mkdir() asked and gone when it was looked at; or a file has that name.
    if (last == ENOENT || last == EEXIST || last == ENOTDIR) continue;
    if (last != 0) return fail(store_error(last, "make a directory"));
    FileDescriptor file(
        ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (file.valid()) return file;
    last = errno;
    if (last != ENOENT) break;
  }
  return fail(Kind::unavailable, "blob.unavailable",
              "create: " + std::generic_category().message(last));
}

/// What a killed put left in `directory`. One that is alive has written within the hour.
void remove_leftovers(const fs::path& directory) {
  const auto old = fs::file_time_type::clock::now() - std::chrono::hours{1};
  std::error_code error;
  for (fs::directory_iterator file(directory, error); !error && file != fs::directory_iterator();
       file.increment(error)) {
    if (!file->path().filename().native().starts_with(kTemporaryPrefix)) continue;
    std::error_code gone;
    const fs::file_time_type written = file->last_write_time(gone);
    if (!gone && written < old) fs::remove(file->path(), gone);
  }
}

}  // namespace

FileSystemBundleStore::FileSystemBundleStore(fs::path root, Random& random, Access access)
    : root_(std::move(root)), random_(random), access_(access) {}

Result<fs::path> FileSystemBundleStore::locate(std::string_view key) const {
  if (!is_object_key(key)) return fail(Kind::invalid, "blob.invalid_key", "not an object key");
  return root_ / key;
}

Status FileSystemBundleStore::get(std::string_view key, std::uint64_t max_bytes,
                                  domain::ByteSink sink) {
  TRY(const fs::path path, locate(key));
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!file.valid()) return fail(store_error(errno, "open"));
  struct stat status{};
  if (::fstat(file.get(), &status) != 0) return fail(store_error(errno, "stat"));
  if (!S_ISREG(status.st_mode)) return fail(store_error(ENOENT, "stat"));

  std::array<std::uint8_t, 128U << 10U> piece;
  std::uint64_t total = 0;
  for (;;) {
    const ssize_t size = ::read(file.get(), piece.data(), piece.size());
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return fail(store_error(errno, "read"));
    if (size == 0) return {};
    total += static_cast<std::uint64_t>(size);
    if (total > max_bytes) {
      return fail(Kind::too_large, "blob.too_large",
                  "the object is larger than " + std::to_string(max_bytes) + " bytes");
    }
    TRY_VOID(sink(ByteSpan{piece.data(), static_cast<std::size_t>(size)}));
  }
}

Status FileSystemBundleStore::put_file(std::string_view key, const std::string& path) {
  TRY(const fs::path target, locate(key));
  TRY(archive::ByteSource source, archive::file_source(path));
  std::array<std::uint8_t, 8> suffix{};
  random_.fill(suffix);
  Temporary temporary(target.parent_path() / (kTemporaryPrefix + hex_encode(suffix)));
  TRY(const FileDescriptor file, create(temporary.path()));
  for (;;) {
    TRY(const ByteSpan piece, source());
    if (piece.empty()) break;
    TRY_VOID(archive::write_all(file.get(), piece));
  }
  if (::fsync(file.get()) != 0) return fail(store_error(errno, "flush"));
  if (::rename(temporary.c_str(), target.c_str()) != 0) return fail(store_error(errno, "rename"));
  temporary.keep();
  return flush_directory(target.parent_path());
}

Status FileSystemBundleStore::remove(std::string_view key) {
  TRY(const fs::path path, locate(key));
  const int failed = ::unlink(path.c_str()) == 0 ? 0 : errno;
  if (failed == 0 || failed == ENOENT) remove_leftovers(path.parent_path());
  // Directories that became empty go too; a racing put makes its own again.
  for (fs::path parent = path.parent_path(); parent != root_; parent = parent.parent_path()) {
    if (::rmdir(parent.c_str()) != 0) break;
  }
  if (failed != 0) return fail(store_error(failed, "remove"));
  return {};
}

Result<bool> FileSystemBundleStore::exists(std::string_view key) {
  TRY(const fs::path path, locate(key));
  struct stat status{};
  if (::lstat(path.c_str(), &status) == 0) return S_ISREG(status.st_mode);
  if (errno == ENOENT || errno == ENOTDIR) return false;
  return fail(store_error(errno, "stat"));
}

Status FileSystemBundleStore::probe() {
  const int write = access_ == Access::read_write ? W_OK : 0;
  if (::access(root_.c_str(), R_OK | X_OK | write) == 0) return {};
  return fail(Kind::unavailable, "blob.unavailable",
              "the bundle directory: " + std::generic_category().message(errno));
}

}  // namespace alga::blob
