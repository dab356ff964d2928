#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/result.h"
#include "domain/ports/spans.h"

namespace alga::telemetry {

/// `ExportTraceServiceRequest` of OTLP 1.x in its JSON form.
[[nodiscard]] std::string encode_otlp(const std::vector<domain::Span>& spans,
                                      std::string_view service);

/// Where spans go for a configured endpoint: `/v1/traces` of a URL without a path, else the URL.
[[nodiscard]] std::string otlp_traces_url(std::string url);

/// Sends spans to a collector in batches, on a thread of its own. A batch that is not taken is
/// tried again twice, then dropped: traces are not records. Full, it drops the newest. Counters:
/// `alga_spans_exported_total`, `alga_spans_dropped_total`. Thread-safe.
class OtlpExporter final : public domain::SpanSink {
 public:
  struct Options {
    std::string service = "algad";
    std::size_t max_queued = 8192;
    std::size_t max_batch = 512;
    std::chrono::milliseconds interval{1'000};  ///< how long a span may wait for company
    std::chrono::milliseconds retry_pause{500};
  };
  /// Posts one body; blocks. A Kind::invalid failure is not worth repeating.
  using Send = std::function<Status(const std::string& body)>;

  OtlpExporter(Options options, Send send, Metrics& metrics, Logger log);
  /// Sends what is queued, once.
  ~OtlpExporter() override;
  OtlpExporter(const OtlpExporter&) = delete;
  OtlpExporter& operator=(const OtlpExporter&) = delete;

  void span(domain::Span span) noexcept override;

 private:
  void run();
  void deliver(const std::vector<domain::Span>& batch);

  const Options options_;
  const Send send_;
  Counter& exported_;
  Counter& dropped_;
  const Logger log_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<domain::Span> queue_;
  bool stop_ = false;
  bool complained_ = false;  // the thread's: one line for each time the collector goes away
  std::thread thread_;
};

}  // namespace alga::telemetry
