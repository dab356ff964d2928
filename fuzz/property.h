#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace alga::fuzz {

/// Stops the fuzzer with the sentence that does not hold; libFuzzer then keeps the input.
inline void must(bool holds, const char* sentence) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", sentence);
  std::abort();
}

inline std::string_view text_of(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

/// The input as two texts, parted at its first line end.
struct TwoTexts {
  std::string_view first, second;
};
inline TwoTexts two_texts(const std::uint8_t* data, std::size_t size) {
  std::string_view whole = text_of(data, size);
  std::size_t end = whole.find('\n');
  if (end == std::string_view::npos) return {whole, {}};
  return {whole.substr(0, end), whole.substr(end + 1)};
}

}  // namespace alga::fuzz
