#include "archive/entry_path.h"

#include "archive/extract.h"
#include "base/bytes.h"

namespace alga::archive {
namespace {

bool has_forbidden_character(std::string_view name) {
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f || c == '\\') return true;
  }
  return false;
}

/// For messages: a hostile name must not break a log line or a terminal.
std::string printable(std::string_view name) {
  std::string out;
  for (const char c : name.substr(0, 120)) {
    const auto byte = static_cast<unsigned char>(c);
    out += byte < 0x20 || byte >= 0x7f ? '?' : c;
  }
  return out;
}

Status check_segment(std::string_view segment, std::string_view name) {
  if (segment.empty()) {
    return fail(Kind::invalid, "archive.invalid_path", "empty segment in " + printable(name));
  }
  if (segment == ".") {
    return fail(Kind::invalid, "archive.invalid_path", "'.' segment in " + printable(name));
  }
  if (segment == "..") {
    return fail(Kind::invalid, "archive.path_traversal", "'..' segment in " + printable(name));
  }
  if (segment.size() > kMaxSegmentBytes) {
    return fail(Kind::invalid, "archive.path_too_long", "segment too long in " + printable(name));
  }
  return {};
}

}  // namespace

Result<EntryPath> parse_entry_path(std::string_view name) {
  if (name.empty()) return fail(Kind::invalid, "archive.invalid_path", "an entry has no name");
  if (name.size() > kMaxPathBytes) {
    return fail(Kind::invalid, "archive.path_too_long", "path too long: " + printable(name));
  }
  if (!is_utf8(name) || has_forbidden_character(name)) {
    return fail(
        Kind::invalid, "archive.invalid_path",
        "a path must be UTF-8 without control characters or backslashes: " + printable(name));
  }
  if (name.front() == '/') {
    return fail(Kind::invalid, "archive.absolute_path", "absolute path: " + printable(name));
  }
  std::string_view rest = name;
  while (rest.starts_with("./")) rest.remove_prefix(2);
  if (rest == ".") rest = {};
  if (rest.ends_with('/')) rest.remove_suffix(1);

  EntryPath result{.path = std::string(rest)};
  std::size_t depth = 0;
  while (!rest.empty()) {
    const std::size_t slash = rest.find('/');
    const std::string_view segment = rest.substr(0, slash);
    TRY_VOID(check_segment(segment, name));
    result.hidden |= segment.front() == '.';
    if (++depth > kMaxDepth) {
      return fail(Kind::invalid, "archive.path_too_long", "nested too deep: " + printable(name));
    }
    if (slash == std::string_view::npos) break;
    rest.remove_prefix(slash + 1);
    if (rest.empty()) TRY_VOID(check_segment(rest, name));
  }
  return result;
}

Status PathRegistry::add(std::string_view path, Type type) {
  for (std::size_t slash = path.find('/'); slash != std::string_view::npos;
       slash = path.find('/', slash + 1)) {
    TRY_VOID(add_one(path.substr(0, slash), Type::directory, true));
  }
  return add_one(path, type, false);
}

Status PathRegistry::add_one(std::string_view path, Type type, bool implied) {
  const auto [known, fresh] =
      by_folded_.try_emplace(to_lower(path), Known{std::string(path), type});
  if (fresh) return {};
  if (known->second.spelling != path) {
    return fail(
        Kind::invalid, "archive.case_collision",
        printable(path) + " and " + printable(known->second.spelling) + " differ only in case");
  }
  const bool both_directories = type == Type::directory && known->second.type == Type::directory;
  if (both_directories) return {};
  return fail(
      Kind::invalid, "archive.duplicate_entry",
      (implied ? "a file is used as a directory: " : "entry appears twice: ") + printable(path));
}

}  // namespace alga::archive
