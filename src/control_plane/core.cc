#include "control_plane/core.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <limits>

#include "base/bytes.h"
#include "json/parse.h"

namespace alga::control_plane {

Core::Core(Dependencies dependencies)
    : deps_(std::move(dependencies)), process_(hex_encode(as_bytes(random_bytes(4)))) {}

std::string Core::new_ordered_id() const {
  constexpr int kCounterBits = 16;
  auto time = static_cast<std::uint64_t>(now().time_since_epoch().count()) << kCounterBits;
  std::uint64_t last = last_id_.load();
  std::uint64_t next = 0;
  do {
    next = std::max(time, last + 1);
  } while (!last_id_.compare_exchange_weak(last, next));
  return fmt::format("{:016x}-{}", next, process_);
}

std::string Core::random_bytes(std::size_t size) const {
  std::string bytes(size, '\0');
  deps_.random->fill({reinterpret_cast<std::uint8_t*>(bytes.data()), bytes.size()});
  return bytes;
}

std::unexpected<Error> invalid(std::string message) {
  return fail(Kind::invalid, "request.invalid", std::move(message));
}

namespace {

/// Control characters, and what makes the text around it look like another one: marks, embeddings,
/// overrides and isolates of writing directions, separators of lines and paragraphs.
bool steers(std::string_view text) {
  for (std::size_t at = 0; at < text.size(); ++at) {
    const auto byte = [&](std::size_t next) {
      return at + next < text.size() ? static_cast<unsigned char>(text[at + next]) : 0U;
    };
    const unsigned first = byte(0), second = byte(1), third = byte(2);
    if (first < 0x20 || first == 0x7F) return true;
    if (first == 0xC2 && second < 0xA0) return true;
    if (first != 0xE2) continue;
    if (second == 0x80 && (third == 0x8E || third == 0x8F)) return true;
    if (second == 0x80 && third >= 0xA8 && third <= 0xAE) return true;
    if (second == 0x81 && third >= 0xA6 && third <= 0xA9) return true;
  }
  return false;
}

}  // namespace

Result<std::string> checked_text(std::string text, std::string_view field, std::size_t max) {
  if (trim(text).empty()) return invalid(fmt::format("{} is empty", field));
  if (text.size() > max) return invalid(fmt::format("{} is longer than {} bytes", field, max));
  if (!is_utf8(text) || steers(text)) {
    return invalid(fmt::format("{} has control characters or is not UTF-8", field));
  }
  return text;
}

std::string to_text(const boost::json::value& value) { return boost::json::serialize(value); }

std::string storable(std::string text) {
  std::ranges::replace(text, '\0', '?');
  if (is_utf8(text)) return text;
  std::ranges::replace_if(text, [](char c) { return static_cast<unsigned char>(c) >= 0x80; }, '?');
  return text;
}

std::unexpected<Error> malformed_column(std::string_view column) {
  return fail(Kind::internal, "sql.malformed_json",
              fmt::format("a row's {} is not the JSON that is written there", column));
}

Result<boost::json::value> from_column(std::string_view text, std::string_view column) {
  // Boost's own parser reads some numbers as their neighbours.
  constexpr json::ParseLimits kWhatever{.max_bytes = std::numeric_limits<std::size_t>::max(),
                                        .max_depth = 64};
  if (auto exact = json::parse(text, kWhatever)) return exact;
  boost::system::error_code error;
  boost::json::value value = boost::json::parse(text, error);
  if (error) return malformed_column(column);
  return value;
}

Result<boost::json::object> object_from_column(std::string_view text, std::string_view column) {
  TRY(boost::json::value value, from_column(text, column));
  if (!value.is_object()) return malformed_column(column);
  return std::move(value.get_object());
}

Result<std::vector<std::string>> strings_from_column(std::string_view text,
                                                     std::string_view column) {
  TRY(const boost::json::value value, from_column(text, column));
  if (!value.is_array()) return malformed_column(column);
  std::vector<std::string> strings;
  for (const auto& item : value.get_array()) {
    if (!item.is_string()) return malformed_column(column);
    strings.emplace_back(item.get_string());
  }
  return strings;
}

}  // namespace alga::control_plane
