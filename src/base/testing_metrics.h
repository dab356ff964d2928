#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>

#include "base/metrics.h"

namespace alga::testing {

/// Counters, the last value of gauges and the number of observations, by `name{label}`.
/// Thread-safe.
class CountingMetrics final : public Metrics {
 public:
  Counter& counter(std::string_view name, std::string_view, Labels labels = {}) override {
    return series(name, labels);
  }
  Gauge& gauge(std::string_view name, std::string_view, Labels labels = {}) override {
    return series(name, labels);
  }
  Histogram& histogram(std::string_view name, std::string_view, std::span<const double>,
                       Labels labels = {}) override {
    return series(name, labels);
  }
  [[nodiscard]] double count(const std::string& key) const {
    const std::scoped_lock lock(mutex_);
    const auto found = counters_.find(key);
    return found == counters_.end() ? 0 : found->second->value.load();
  }
  /// Every series that counted, one a line; for messages of tests.
  [[nodiscard]] std::string all() const {
    const std::scoped_lock lock(mutex_);
    std::string text;
    for (const auto& [key, series] : counters_) {
      text += key + " " + std::to_string(series->value.load()) + "\n";
    }
    return text;
  }

 private:
  struct Count final : Counter, Gauge, Histogram {
    void add(double amount) noexcept override { value += amount; }
    void set(double amount) noexcept override { value = amount; }
    void observe(double) noexcept override { value += 1; }
    std::atomic<double> value{0};
  };
  Count& series(std::string_view name, Labels labels) {
    std::string key(name);
    for (const Label& label : labels) key += "{" + std::string(label.second) + "}";
    const std::scoped_lock lock(mutex_);
    auto& slot = counters_[key];
    if (!slot) slot = std::make_unique<Count>();
    return *slot;
  }
  mutable std::mutex mutex_;
  std::map<std::string, std::unique_ptr<Count>> counters_;
};

}  // namespace alga::testing
