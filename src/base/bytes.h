#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace alga {

using ByteSpan = std::span<const std::uint8_t>;

[[nodiscard]] inline ByteSpan as_bytes([[clang::lifetimebound]] std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
[[nodiscard]] inline std::string_view as_text([[clang::lifetimebound]] ByteSpan bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Base64 (RFC 4648 section 4, padded) and its URL-safe form (section 5, unpadded).
[[nodiscard]] std::string base64_encode(ByteSpan bytes);
[[nodiscard]] std::string base64url_encode(ByteSpan bytes);
/// Strict: none on a foreign character, bad padding or non-zero trailing bits.
[[nodiscard]] std::optional<std::string> base64_decode(std::string_view text);
[[nodiscard]] std::optional<std::string> base64url_decode(std::string_view text);

/// Lower-case hexadecimal; decoding accepts both cases.
[[nodiscard]] std::string hex_encode(ByteSpan bytes);
[[nodiscard]] std::optional<std::string> hex_decode(std::string_view text);

/// True when `text` is well-formed UTF-8 (no surrogates, no overlong forms).
[[nodiscard]] bool is_utf8(std::string_view text);

/// The longest prefix of at most `limit` bytes that does not cut a UTF-8 sequence.
[[nodiscard]] std::string_view utf8_prefix([[clang::lifetimebound]] std::string_view text,
                                           std::size_t limit);

/// ASCII only; locale-free.
[[nodiscard]] std::string to_lower(std::string_view text);
[[nodiscard]] std::string_view trim([[clang::lifetimebound]] std::string_view text);
[[nodiscard]] bool iequals(std::string_view a, std::string_view b);

}  // namespace alga
