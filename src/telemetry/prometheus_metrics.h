#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "base/metrics.h"

namespace alga::telemetry {

/// The registry behind `/metrics`, over prometheus-cpp, with what the kernel says of this process
/// beside it (`process_…`). Guards against label values from an open
/// set: when a name has `max_series` series, further label values are counted together under the
/// value `other`, and `alga_metrics_folded_series_total` grows. Asking for a name as another kind
/// of metric, or with a malformed name, is a bug and aborts. Thread-safe.
class PrometheusMetrics final : public Metrics {
 public:
  explicit PrometheusMetrics(std::size_t max_series = 500);
  ~PrometheusMetrics() override;

  Counter& counter(std::string_view name, std::string_view help, Labels labels = {}) override;
  Gauge& gauge(std::string_view name, std::string_view help, Labels labels = {}) override;
  Histogram& histogram(std::string_view name, std::string_view help,
                       std::span<const double> buckets, Labels labels = {}) override;

  /// Everything in the Prometheus text format, version 0.0.4.
  [[nodiscard]] std::string serialize() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The content type of serialize().
inline constexpr std::string_view kPrometheusContentType =
    "text/plain; version=0.0.4; charset=utf-8";

}  // namespace alga::telemetry
