#include "httpd/files.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

namespace alga::httpd {
namespace {

std::unexpected<Error> spool_failed() {
  return fail(Kind::unavailable, "http.spool_failed",
              std::string("cannot keep the request body: ") + std::strerror(errno));
}

std::optional<std::uint64_t> parse_number(std::string_view text) {
  std::uint64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (text.empty() || error != std::errc{} || stop != end) return std::nullopt;
  return value;
}

}  // namespace

Result<std::shared_ptr<SpoolFile>> SpoolFile::create(const std::string& folder) {
  std::string path = folder + "/alga-body-XXXXXX";
  const int descriptor = ::mkostemp(path.data(), O_CLOEXEC);
  if (descriptor < 0) return spool_failed();
  return std::shared_ptr<SpoolFile>(new SpoolFile(descriptor, std::move(path)));
}

SpoolFile::~SpoolFile() {
  ::close(descriptor_);
  ::unlink(path_.c_str());
}

Status SpoolFile::append(std::string_view bytes) {
  hash_.update(bytes);
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return spool_failed();
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

Result<std::shared_ptr<ServedFile>> ServedFile::open(const std::string& path) {
  // Not blocking on the open of a pipe that somebody put there.
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
  if (descriptor < 0) return fail(Kind::not_found, "http.not_found", "no such file");
  struct stat info{};
  if (::fstat(descriptor, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(descriptor);
    return fail(Kind::not_found, "http.not_found", "no such file");
  }
  return std::shared_ptr<ServedFile>(
      new ServedFile(descriptor, static_cast<std::uint64_t>(info.st_size)));
}

ServedFile::~ServedFile() { ::close(descriptor_); }

Result<std::string> ServedFile::read(std::uint64_t offset, std::size_t length) const {
  std::string out(length, '\0');
  std::size_t filled = 0;
  while (filled < length) {
    const ssize_t got = ::pread(descriptor_, out.data() + filled, length - filled,
                                static_cast<off_t>(offset + filled));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0)
      return fail(Kind::internal, "http.internal", "the file changed while it was sent");
    filled += static_cast<std::size_t>(got);
  }
  return out;
}

std::expected<std::optional<ByteRange>, Unsatisfiable> parse_range(std::string_view header,
                                                                   std::uint64_t size) {
  if (!header.starts_with("bytes=") || header.contains(',')) return std::nullopt;
  header.remove_prefix(6);
  const std::size_t dash = header.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const std::string_view from = trim(header.substr(0, dash));
  const std::string_view to = trim(header.substr(dash + 1));
  const auto last = parse_number(to);
  if (from.empty()) {  // the last so many bytes
    if (!last) return std::nullopt;
    if (*last == 0 || size == 0) return std::unexpected(Unsatisfiable{});
    const std::uint64_t length = std::min(*last, size);
    return ByteRange{size - length, length};
  }
  const auto first = parse_number(from);
  if (!first || (!to.empty() && (!last || *last < *first))) return std::nullopt;
  if (*first >= size) return std::unexpected(Unsatisfiable{});
  const std::uint64_t end = to.empty() ? size - 1 : std::min(*last, size - 1);
  return ByteRange{*first, end - *first + 1};
}

bool matches_etag(std::string_view list, std::string_view etag) {
  auto strong = [](std::string_view text) {
    if (text.starts_with("W/")) text.remove_prefix(2);
    return text;
  };
  if (trim(list) == "*") return true;
  while (!list.empty()) {
    const std::size_t comma = std::min(list.find(','), list.size());
    if (strong(trim(list.substr(0, comma))) == strong(etag)) return true;
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return false;
}

}  // namespace alga::httpd
