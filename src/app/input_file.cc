#include "app/input_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <memory>
#include <system_error>

namespace alga::app {
namespace {

std::string reason(int error) { return std::generic_category().message(error); }

std::unexpected<Error> unusable(std::string_view code, const std::string& path,
                                std::string_view what, const std::string& why) {
  return fail(Kind::invalid, code, path + " cannot be " + std::string(what) + ": " + why);
}

}  // namespace

Result<std::string> read_whole_file(const std::string& path, std::size_t most,
                                    std::string_view code) {
  const std::unique_ptr<std::FILE, decltype(&std::fclose)> file(std::fopen(path.c_str(), "rbe"),
                                                                &std::fclose);
  if (!file) return unusable(code, path, "read", reason(errno));
  std::string text;
  std::string piece(std::size_t{64} << 10U, '\0');
  while (text.size() <= most) {
    const std::size_t got = std::fread(piece.data(), 1, piece.size(), file.get());
    if (std::ferror(file.get()) != 0) return unusable(code, path, "read", reason(errno));
    if (got == 0) return text;
    text.append(piece, 0, got);
  }
  return unusable(code, path, "read", "it is larger than " + std::to_string(most >> 20U) + " MiB");
}

Result<int> open_component_file(const std::string& path) {
  constexpr std::string_view code = "component.unavailable";
  // A pipe is opened without waiting for its other end, to be refused.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return unusable(code, path, "read", reason(errno));
  struct stat facts{};
  std::string why;
  if (::fstat(fd, &facts) != 0) {
    why = reason(errno);
  } else if (S_ISDIR(facts.st_mode)) {
    why = reason(EISDIR);
  } else if (!S_ISREG(facts.st_mode)) {
    why = "it is no regular file";
  }
  if (why.empty()) return fd;
  ::close(fd);
  return unusable(code, path, "read", why);
}

Result<int> open_output_file(const std::string& path, int input) {
  constexpr std::string_view code = "engine.cache_io";
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return unusable(code, path, "written", reason(errno));
  struct stat theirs{};
  struct stat ours{};
  std::string why;
  if (::fstat(input, &theirs) != 0 || ::fstat(fd, &ours) != 0) {
    why = reason(errno);
  } else if (theirs.st_dev == ours.st_dev && theirs.st_ino == ours.st_ino) {
    why = "it is the component itself";
  } else if (S_ISREG(ours.st_mode) && ::ftruncate(fd, 0) != 0) {
    why = reason(errno);
  }
  if (why.empty()) return fd;
  ::close(fd);
  return unusable(code, path, "written", why);
}

}  // namespace alga::app
