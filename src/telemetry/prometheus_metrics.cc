#include "telemetry/prometheus_metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/metric_family.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <map>
#include <mutex>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"
#include "telemetry/process_metrics.h"

namespace alga::telemetry {
namespace {

class CounterSeries final : public Counter {
 public:
  explicit CounterSeries(prometheus::Counter& series) : series_(series) {}
  void add(double amount) noexcept override { series_.Increment(amount); }

 private:
  prometheus::Counter& series_;
};

class GaugeSeries final : public Gauge {
 public:
  explicit GaugeSeries(prometheus::Gauge& series) : series_(series) {}
  void set(double value) noexcept override { series_.Set(value); }
  void add(double amount) noexcept override { series_.Increment(amount); }

 private:
  prometheus::Gauge& series_;
};

class HistogramSeries final : public Histogram {
 public:
  explicit HistogramSeries(prometheus::Histogram& series) : series_(series) {}
  void observe(double value) noexcept override { series_.Observe(value); }

 private:
  prometheus::Histogram& series_;
};

/// All series of one name, of one kind.
template <class Native, class Series>
struct Family {
  prometheus::Family<Native>* native = nullptr;
  std::map<prometheus::Labels, std::unique_ptr<Series>> series;
};
using Counters = Family<prometheus::Counter, CounterSeries>;
using Gauges = Family<prometheus::Gauge, GaugeSeries>;
using Histograms = Family<prometheus::Histogram, HistogramSeries>;

prometheus::Labels to_labels(Labels labels) {
  prometheus::Labels result;
  for (const auto& [name, value] : labels) result.emplace(name, value);
  return result;
}

void add_process(std::vector<prometheus::MetricFamily>& all, const ProcessUse& use) {
  using Type = prometheus::MetricType;
  const auto add = [&all](const char* name, const char* help, Type type, double value) {
    prometheus::ClientMetric metric;
    (type == Type::Counter ? metric.counter.value : metric.gauge.value) = value;
    all.push_back({name, help, type, {std::move(metric)}});
  };
  const auto gauge = [&add](const char* name, const char* help, std::uint64_t value) {
    add(name, help, Type::Gauge, static_cast<double>(value));
  };
  gauge("process_resident_memory_bytes", "Memory of this process that is in RAM",
        use.resident_bytes);
  gauge("process_virtual_memory_bytes", "Address space of this process", use.virtual_bytes);
  gauge("process_open_fds", "Open file descriptors", use.open_files);
  gauge("process_max_fds", "File descriptors that may be open", use.most_open_files);
  gauge("process_threads", "Threads of this process", use.threads);
  add("process_cpu_seconds_total", "Processor time used", Type::Counter, use.cpu_seconds);
  add("process_start_time_seconds", "When this process was started, since 1970", Type::Gauge,
      use.start_seconds);
}

}  // namespace

struct PrometheusMetrics::State {
  explicit State(std::size_t most) : max_series(most) {}

  const std::size_t max_series;
  prometheus::Registry registry;
  std::mutex mutex;
  std::map<std::string, std::variant<Counters, Gauges, Histograms>, std::less<>> families;
  prometheus::Counter* folded = nullptr;

  /// The family of that name; `build` makes its native side the first time.
  template <class F, class Build>
  F& family(std::string_view name, Build build) {
    auto found = families.find(name);
    if (found == families.end()) {
      F fresh;
      fresh.native = &build();
      found = families.emplace(std::string(name), std::move(fresh)).first;
    }
    auto* family = std::get_if<F>(&found->second);
    ALGA_CHECK(family != nullptr);  // the same name as another kind of metric
    return *family;
  }

  /// The series of these labels, or the one that stands for all others.
  template <class F, class Add>
  auto& series(F& family, prometheus::Labels labels, Add add) {
    auto found = family.series.find(labels);
    if (found != family.series.end()) return *found->second;
    if (family.series.size() >= max_series && !labels.empty()) {
      folded->Increment();
      for (auto& [name, value] : labels) value = "other";
      found = family.series.find(labels);
      if (found != family.series.end()) return *found->second;
    }
    return *family.series.emplace(labels, add(*family.native, labels)).first->second;
  }
};

PrometheusMetrics::PrometheusMetrics(std::size_t max_series)
    : state_(std::make_unique<State>(max_series)) {
  state_->folded = &prometheus::BuildCounter()
                        .Name("alga_metrics_folded_series_total")
                        .Help("Times that label values were counted as other")
                        .Register(state_->registry)
                        .Add({});
}

PrometheusMetrics::~PrometheusMetrics() = default;

Counter& PrometheusMetrics::counter(std::string_view name, std::string_view help, Labels labels) {
  const std::scoped_lock lock(state_->mutex);
  auto& family = state_->family<Counters>(name, [&]() -> auto& {
    return prometheus::BuildCounter()
        .Name(std::string(name))
        .Help(std::string(help))
        .Register(state_->registry);
  });
  return state_->series(family, to_labels(labels), [](auto& native, const auto& all) {
    return std::make_unique<CounterSeries>(native.Add(all));
  });
}

Gauge& PrometheusMetrics::gauge(std::string_view name, std::string_view help, Labels labels) {
  const std::scoped_lock lock(state_->mutex);
  auto& family = state_->family<Gauges>(name, [&]() -> auto& {
    return prometheus::BuildGauge()
        .Name(std::string(name))
        .Help(std::string(help))
        .Register(state_->registry);
  });
  return state_->series(family, to_labels(labels), [](auto& native, const auto& all) {
    return std::make_unique<GaugeSeries>(native.Add(all));
  });
}

Histogram& PrometheusMetrics::histogram(std::string_view name, std::string_view help,
                                        std::span<const double> buckets, Labels labels) {
  const std::scoped_lock lock(state_->mutex);
  auto& family = state_->family<Histograms>(name, [&]() -> auto& {
    return prometheus::BuildHistogram()
        .Name(std::string(name))
        .Help(std::string(help))
        .Register(state_->registry);
  });
  const prometheus::Histogram::BucketBoundaries bounds(buckets.begin(), buckets.end());
  return state_->series(family, to_labels(labels), [&](auto& native, const auto& all) {
    return std::make_unique<HistogramSeries>(native.Add(all, bounds));
  });
}

std::string PrometheusMetrics::serialize() const {
  std::vector<prometheus::MetricFamily> all = state_->registry.Collect();
  if (const auto use = read_process_use()) add_process(all, *use);
  return prometheus::TextSerializer().Serialize(all);
}

}  // namespace alga::telemetry
