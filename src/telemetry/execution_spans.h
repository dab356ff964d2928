#pragma once

#include "base/random.h"
#include "domain/ports/records.h"
#include "domain/ports/spans.h"

namespace alga::telemetry {

/// Passes records on and makes spans of the executions whose trace is sampled: one for the
/// execution and one for each of its steps (queue, compile or load, instantiate, call), laid one
/// after the other. Thread-safe.
class ExecutionSpans final : public domain::RecordSink {
 public:
  /// All of them outlive the object.
  ExecutionSpans(domain::RecordSink& next, domain::SpanSink& spans, Random& random)
      : next_(next), spans_(spans), random_(random) {}

  void execution(domain::ExecutionRecord record) noexcept override;
  void guest_log(domain::GuestLogLine line) noexcept override { next_.guest_log(std::move(line)); }
  void capability(domain::CapabilityEvent event) noexcept override {
    next_.capability(std::move(event));
  }

 private:
  void trace(const domain::ExecutionRecord& record);

  domain::RecordSink& next_;
  domain::SpanSink& spans_;
  Random& random_;
};

}  // namespace alga::telemetry
