#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/random.h"

namespace alga::telemetry {

/// A position in a distributed trace: W3C Trace Context, level 1, the `traceparent` header.
struct TraceContext {
  std::array<std::uint8_t, 16> trace_id{};
  std::array<std::uint8_t, 8> span_id{};
  bool sampled = false;

  /// None unless it is well-formed: lower-case hex, no all-zero id, version not ff. A version newer
  /// than 00 is read as far as 00 goes.
  [[nodiscard]] static std::optional<TraceContext> parse(std::string_view traceparent);
  /// The start of a new trace.
  [[nodiscard]] static TraceContext fresh(Random& random, bool sampled);

  /// A new span in the same trace.
  [[nodiscard]] TraceContext child(Random& random) const;
  /// The header's value, version 00.
  [[nodiscard]] std::string traceparent() const;
  /// 32 hex digits, for records and logs.
  [[nodiscard]] std::string trace_id_hex() const;
};

}  // namespace alga::telemetry
