#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"

namespace alga::domain {

/// One timed step of a trace, as OpenTelemetry has it. Attributes say what a record may say: ids,
/// classes, sizes; never a value of a user, a secret or a query string.
struct Span {
  enum class Kind : std::uint8_t { internal, server };

  std::string trace_id;   ///< 32 hexadecimal digits
  std::string span_id;    ///< 16 hexadecimal digits
  std::string parent_id;  ///< the same, or empty for the first of its trace
  std::string name;
  Kind kind = Kind::internal;
  WallTime start;
  std::uint64_t start_offset_us = 0;  ///< beyond `start`, which only counts milliseconds
  std::uint64_t duration_us = 0;
  std::vector<std::pair<std::string_view, std::string>> attributes;
  bool failed = false;
};

/// Takes the spans of sampled traces without blocking; bounded: when full it drops the newest and
/// counts them. Thread-safe.
class SpanSink {
 public:
  virtual ~SpanSink() = default;
  virtual void span(Span span) noexcept = 0;
};

}  // namespace alga::domain
