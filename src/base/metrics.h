#pragma once

#include <initializer_list>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

namespace alga {

/// Handles of single time series. Thread-safe and cheap; they live as long as their Metrics.
class Counter {
 public:
  virtual ~Counter() = default;
  virtual void add(double amount = 1) noexcept = 0;
};
class Gauge {
 public:
  virtual ~Gauge() = default;
  virtual void set(double value) noexcept = 0;
  virtual void add(double amount) noexcept = 0;
};
class Histogram {
 public:
  virtual ~Histogram() = default;
  virtual void observe(double value) noexcept = 0;
};

using Label = std::pair<std::string_view, std::string_view>;
using Labels = std::initializer_list<Label>;

/// The registry behind `/metrics`. Names follow Prometheus (`alga_…_total`, `…_seconds`,
/// `…_bytes`). Asking twice for the same name and labels gives the same series. Label values must
/// come from a small closed set: never identifiers of tenants, requests or secrets.
class Metrics {
 public:
  virtual ~Metrics() = default;
  virtual Counter& counter(std::string_view name, std::string_view help, Labels labels = {}) = 0;
  virtual Gauge& gauge(std::string_view name, std::string_view help, Labels labels = {}) = 0;
  /// `buckets`: ascending upper bounds in the unit of the name.
  virtual Histogram& histogram(std::string_view name, std::string_view help,
                               std::span<const double> buckets, Labels labels = {}) = 0;
};

/// Forgets everything; for tests and tools.
class NoMetrics final : public Metrics {
 public:
  Counter& counter(std::string_view, std::string_view, Labels) override { return counter_; }
  Gauge& gauge(std::string_view, std::string_view, Labels) override { return gauge_; }
  Histogram& histogram(std::string_view, std::string_view, std::span<const double>,
                       Labels) override {
    return histogram_;
  }

 private:
  struct : Counter {
    void add(double) noexcept override {}
  } counter_;
  struct : Gauge {
    void set(double) noexcept override {}
    void add(double) noexcept override {}
  } gauge_;
  struct : Histogram {
    void observe(double) noexcept override {}
  } histogram_;
};

}  // namespace alga
