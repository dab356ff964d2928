#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

namespace alga {

enum class LogLevel : std::uint8_t { debug, info, warn, error };

/// One key and value of a structured log line. Views must live until the call returns.
struct LogField {
  using Value = std::variant<std::string_view, std::int64_t, std::uint64_t, double, bool>;
  std::string_view key;
  Value value;

  LogField(std::string_view k, std::string_view v) : key(k), value(v) {}
  LogField(std::string_view k, const char* v) : key(k), value(std::string_view{v}) {}
  LogField(std::string_view k, const std::string& v) : key(k), value(std::string_view{v}) {}
  LogField(std::string_view k, bool v) : key(k), value(v) {}
  LogField(std::string_view k, double v) : key(k), value(v) {}
  template <class Integer>
    requires std::is_integral_v<Integer> && (!std::is_same_v<Integer, bool>)
  LogField(std::string_view k, Integer v) : key(k) {
    if constexpr (std::is_signed_v<Integer>) {
      value = static_cast<std::int64_t>(v);
    } else {
      value = static_cast<std::uint64_t>(v);
    }
  }
};

/// Where log lines go. Thread-safe, never throws, never blocks for long.
class LogSink {
 public:
  virtual ~LogSink() = default;
  [[nodiscard]] virtual bool enabled(LogLevel level) const noexcept = 0;
  virtual void write(LogLevel level, std::string_view component, std::string_view message,
                     std::span<const LogField> fields) noexcept = 0;
};

/// A cheap handle: a sink and the name of the component that speaks. A default-made Logger is mute.
class Logger {
 public:
  Logger() = default;
  Logger(std::shared_ptr<LogSink> sink, std::string component)
      : sink_(std::move(sink)), component_(std::move(component)) {}

  [[nodiscard]] Logger named(std::string component) const { return {sink_, std::move(component)}; }

  void debug(std::string_view message, std::initializer_list<LogField> fields = {}) const {
    emit(LogLevel::debug, message, fields);
  }
  void info(std::string_view message, std::initializer_list<LogField> fields = {}) const {
    emit(LogLevel::info, message, fields);
  }
  void warn(std::string_view message, std::initializer_list<LogField> fields = {}) const {
    emit(LogLevel::warn, message, fields);
  }
  void error(std::string_view message, std::initializer_list<LogField> fields = {}) const {
    emit(LogLevel::error, message, fields);
  }
  /// Whether lines of this level are written.
  [[nodiscard]] bool enabled(LogLevel level) const { return sink_ && sink_->enabled(level); }
  void emit(LogLevel level, std::string_view message,
            std::initializer_list<LogField> fields) const {
    if (enabled(level)) {
      sink_->write(level, component_, message, {fields.begin(), fields.size()});
    }
  }

 private:
  std::shared_ptr<LogSink> sink_;
  std::string component_;
};

}  // namespace alga
