#include "archive/file.h"

#include <unistd.h>

#include <cerrno>
#include <string>
#include <system_error>

namespace alga::archive {

FileDescriptor::~FileDescriptor() {
  if (fd_ >= 0) ::close(fd_);
}

Error io_error(int error, std::string_view action) {
  const std::string text = std::string(action) + ": " + std::generic_category().message(error);
  if (error == ENOSPC || error == EDQUOT) {
    return {Kind::unavailable, "archive.disk_full", text};
  }
  return {Kind::unavailable, "archive.io", text};
}

Status write_all(int fd, ByteSpan bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return fail(io_error(errno, "write"));
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return {};
}

}  // namespace alga::archive
