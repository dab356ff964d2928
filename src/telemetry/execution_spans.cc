#include "telemetry/execution_spans.h"

#include <array>
#include <string_view>
#include <utility>

#include "base/bytes.h"

namespace alga::telemetry {
namespace {

std::string new_span_id(Random& random) {
  std::array<std::uint8_t, 8> bytes{};
  random.fill(bytes);
  return hex_encode(bytes);
}

}  // namespace

void ExecutionSpans::execution(domain::ExecutionRecord record) noexcept {
  if (record.who.sampled) {
    try {
      trace(record);
    } catch (...) {  // out of memory: the record matters more
      record.who.sampled = false;
    }
  }
  next_.execution(std::move(record));
}

void ExecutionSpans::trace(const domain::ExecutionRecord& record) {
  const domain::ExecutionIdentity& who = record.who;
  const auto took =
      std::chrono::duration_cast<std::chrono::microseconds>(record.finished - record.started);
  domain::Span whole{
      .trace_id = who.trace_id,
      .span_id = who.span_id,
      .parent_id = who.parent_id,
      .name = "execute",
      .kind = domain::Span::Kind::server,
      .start = record.started,
      .duration_us = static_cast<std::uint64_t>(std::max<std::int64_t>(0, took.count())),
      .attributes = {{"alga.tenant", who.tenant},
                     {"alga.extension", who.extension},
                     {"alga.install", who.install},
                     {"alga.version", who.version},
                     {"alga.request_id", who.request_id},
                     {"alga.end_class", record.end_class},
                     {"alga.code", record.code},
                     {"http.response.status_code", std::to_string(record.status)}},
      .failed = record.end_class != "ok"};
  const std::array<std::pair<std::string_view, std::uint64_t>, 4> steps{
      {{"load", record.cold_us},
       {"queue", record.queue_us},
       {"instantiate", record.instantiate_us},
       {"call", record.call_us}}};
  std::uint64_t offset = 0;
  for (const auto& [name, duration] : steps) {
    if (duration == 0) continue;
    spans_.span({.trace_id = who.trace_id,
                 .span_id = new_span_id(random_),
                 .parent_id = whole.span_id,
                 .name = std::string(name),
                 .start = record.started,
                 .start_offset_us = offset,
                 .duration_us = duration});
    offset += duration;
  }
  whole.duration_us = std::max(whole.duration_us, offset);
  spans_.span(std::move(whole));
}

}  // namespace alga::telemetry
