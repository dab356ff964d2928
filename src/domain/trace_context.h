#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/random.h"

namespace alga::domain {

/// The header `traceparent` of W3C Trace Context, version 00.
struct TraceContext {
  std::string trace_id;   ///< 32 lower-case hexadecimal digits, not all zero
  std::string parent_id;  ///< 16 lower-case hexadecimal digits, not all zero
  bool sampled = false;

  /// None when it is not valid; later versions are read as far as version 00 reaches, as the
  /// standard asks.
  [[nodiscard]] static std::optional<TraceContext> parse(std::string_view header);
  /// A new trace that begins here.
  [[nodiscard]] static TraceContext start(Random& random, bool sampled);
  /// The same trace, with a new parent id for what comes next.
  [[nodiscard]] TraceContext child(Random& random) const;
  [[nodiscard]] std::string header() const;
};

/// True for the given share of all traces, and always the same for one of them.
[[nodiscard]] bool is_sampled(std::string_view trace_id, double share);

}  // namespace alga::domain
