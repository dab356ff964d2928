#include "domain/trace_context.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>

#include "base/bytes.h"

namespace alga::domain {
namespace {

bool is_lower_hex(std::string_view text) {
  return std::ranges::all_of(
      text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool is_id(std::string_view text) {
  return is_lower_hex(text) && text.find_first_not_of('0') != std::string_view::npos;
}

template <std::size_t Size>
std::string new_id(Random& random) {
  std::array<std::uint8_t, Size> bytes{};
  random.fill(bytes);
  // All zero means "none" in the standard.
  if (std::ranges::all_of(bytes, [](std::uint8_t byte) { return byte == 0; })) bytes.back() = 1;
  return hex_encode(bytes);
}

}  // namespace

std::optional<TraceContext> TraceContext::parse(std::string_view header) {
  constexpr std::size_t size = 55;  // 00-<32>-<16>-<2>
  if (header.size() < size || header[2] != '-' || header[35] != '-' || header[52] != '-') {
    return std::nullopt;
  }
  std::string_view version = header.substr(0, 2);
  std::string_view flags = header.substr(53, 2);
  if (!is_lower_hex(version) || version == "ff" || !is_lower_hex(flags)) return std::nullopt;
  bool longer = header.size() > size;
  if (longer && (version == "00" || header[size] != '-')) return std::nullopt;
  std::string_view trace_id = header.substr(3, 32);
  std::string_view parent_id = header.substr(36, 16);
  if (!is_id(trace_id) || !is_id(parent_id)) return std::nullopt;
  constexpr std::string_view odd = "13579bdf";
  return TraceContext{std::string(trace_id), std::string(parent_id), odd.contains(flags[1])};
}

TraceContext TraceContext::start(Random& random, bool sampled) {
  return {new_id<16>(random), new_id<8>(random), sampled};
}

TraceContext TraceContext::child(Random& random) const {
  return {trace_id, new_id<8>(random), sampled};
}

std::string TraceContext::header() const {
  return "00-" + trace_id + "-" + parent_id + (sampled ? "-01" : "-00");
}

bool is_sampled(std::string_view trace_id, double share) {
  if (share >= 1) return true;
  constexpr std::size_t digits = 13;  // 52 random bits: a double holds them exactly
  std::uint64_t drawn = 0;
  const std::string_view last =
      trace_id.substr(trace_id.size() - std::min(digits, trace_id.size()));
  const auto [end, error] = std::from_chars(last.data(), last.data() + last.size(), drawn, 16);
  if (error != std::errc{}) return false;
  return static_cast<double>(drawn) < share * static_cast<double>(1ULL << (4 * digits));
}

}  // namespace alga::domain
