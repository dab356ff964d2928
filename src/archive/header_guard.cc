#include "archive/header_guard.h"

#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>

namespace alga::archive {
namespace {

constexpr std::size_t kBlock = 512;
constexpr std::size_t kNameEnd = 100;
constexpr std::size_t kSizeAt = 124;
constexpr std::size_t kSizeLength = 12;
constexpr std::size_t kTypeAt = 156;

std::unexpected<Error> nul_in_name() {
  return fail(Kind::invalid, "archive.invalid_path", "a name contains a NUL character");
}

/// True when something other than NUL follows a NUL.
bool continues_behind_nul(std::string_view field) {
  const std::size_t end = field.find('\0');
  return end != std::string_view::npos && field.find_first_not_of('\0', end) != field.npos;
}

/// The size of an extended header's body; none for anything but plain octal.
std::optional<std::uint64_t> octal(std::string_view field) {
  const std::size_t begin = field.find_first_not_of(' ');
  if (begin == std::string_view::npos) return std::nullopt;
  field.remove_prefix(begin);
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value, 8);
  const std::string_view rest(end, static_cast<std::size_t>(field.data() + field.size() - end));
  if (error != std::errc{} || rest.find_first_not_of(std::string_view(" \0", 2)) != rest.npos) {
    return std::nullopt;
  }
  return value;
}

/// Looks for `path` records (`<length> path=<value>\n`). Values of other keys may be binary:
/// extended attributes are. What cannot be read is libarchive's to refuse.
bool pax_path_has_nul(std::string_view body) {
  while (!body.empty()) {
    std::size_t length = 0;
    const auto [end, error] = std::from_chars(body.data(), body.data() + body.size(), length);
    if (error != std::errc{} || length == 0 || length > body.size()) return false;
    const auto digits = static_cast<std::size_t>(end - body.data());
    if (digits + 1 > length) return false;
    const std::string_view record = body.substr(digits + 1, length - digits - 1);
    const std::string_view key = record.substr(0, record.find('='));
    if (key.contains('\0')) return true;
    if (key == "path" && record.contains('\0')) return true;
    body.remove_prefix(length);
  }
  return false;
}

bool is_extension(char type) { return type == 'x' || type == 'g' || type == 'L' || type == 'K'; }

}  // namespace

Status check_raw_headers(ByteSpan blocks) {
  std::string_view rest = as_text(blocks);
  while (rest.size() >= kBlock) {
    const std::string_view block = rest.substr(0, kBlock);
    rest.remove_prefix(kBlock);
    if (continues_behind_nul(block.substr(0, kNameEnd))) return nul_in_name();
    const char type = block[kTypeAt];
    if (!is_extension(type)) return {};
    const auto size = octal(block.substr(kSizeAt, kSizeLength));
    if (!size || *size > rest.size()) return {};
    const std::string_view body = rest.substr(0, *size);
    if (type == 'L' && continues_behind_nul(body)) return nul_in_name();
    if ((type == 'x' || type == 'g') && pax_path_has_nul(body)) return nul_in_name();
    const std::size_t padded = (*size + kBlock - 1) / kBlock * kBlock;
    rest.remove_prefix(std::min(padded, rest.size()));
  }
  return {};
}

}  // namespace alga::archive
