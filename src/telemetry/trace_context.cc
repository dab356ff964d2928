#include "telemetry/trace_context.h"

#include <algorithm>

#include "base/bytes.h"

namespace alga::telemetry {
namespace {

constexpr std::size_t kLength = 55;

bool is_lower_hex(std::string_view text) {
  return std::ranges::all_of(
      text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

template <std::size_t N>
bool read_id(std::string_view text, std::array<std::uint8_t, N>& out) {
  if (!is_lower_hex(text)) return false;
  const auto bytes = hex_decode(text);
  if (!bytes || bytes->size() != N) return false;
  std::ranges::copy(as_bytes(*bytes), out.begin());
  return std::ranges::any_of(out, [](std::uint8_t byte) { return byte != 0; });
}

}  // namespace

std::optional<TraceContext> TraceContext::parse(std::string_view text) {
  if (text.size() < kLength || text[2] != '-' || text[35] != '-' || text[52] != '-') {
    return std::nullopt;
  }
  const std::string_view version = text.substr(0, 2);
  if (!is_lower_hex(version) || version == "ff") return std::nullopt;
  const bool longer = text.size() > kLength;
  if (longer && (version == "00" || text[kLength] != '-')) return std::nullopt;
  TraceContext result;
  if (!read_id(text.substr(3, 32), result.trace_id)) return std::nullopt;
  if (!read_id(text.substr(36, 16), result.span_id)) return std::nullopt;
  const std::string_view flags = text.substr(53, 2);
  const auto bits = is_lower_hex(flags) ? hex_decode(flags) : std::nullopt;
  if (!bits) return std::nullopt;
  result.sampled = (static_cast<unsigned char>(bits->front()) & 1U) != 0;
  return result;
}

TraceContext TraceContext::fresh(Random& random, bool sampled) {
  TraceContext result;
  random.fill(result.trace_id);
  random.fill(result.span_id);
  result.trace_id.back() |= 1U;  // all zeros would mean "no trace"
  result.span_id.back() |= 1U;
  result.sampled = sampled;
  return result;
}

TraceContext TraceContext::child(Random& random) const {
  TraceContext result = *this;
  random.fill(result.span_id);
  result.span_id.back() |= 1U;
  return result;
}

std::string TraceContext::traceparent() const {
  return "00-" + hex_encode(trace_id) + "-" + hex_encode(span_id) + (sampled ? "-01" : "-00");
}

std::string TraceContext::trace_id_hex() const { return hex_encode(trace_id); }

}  // namespace alga::telemetry
