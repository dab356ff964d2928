#include "telemetry/json_log.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <utility>

#include "async/thread_name.h"
#include "base/late.h"
#include "telemetry/json_text.h"

namespace alga::telemetry {
namespace {

constexpr std::size_t kMaxNameBytes = 64;
constexpr int kClosingPatienceMs = 2000;

void append_value(std::string& out, const LogField::Value& value, std::size_t limit) {
  struct Visitor {
    std::string& out;
    std::size_t limit;
    void operator()(std::string_view text) const { append_json_string(out, text, limit); }
    void operator()(std::int64_t number) const { out += std::to_string(number); }
    void operator()(std::uint64_t number) const { out += std::to_string(number); }
    void operator()(double number) const {
      out += std::isfinite(number) ? fmt::format("{}", number) : "null";
    }
    void operator()(bool truth) const { out += truth ? "true" : "false"; }
  };
  std::visit(Visitor{out, limit}, value);
}

std::string format_text(WallTime at, LogLevel level, std::string_view component,
                        std::string_view message, std::span<const LogField> fields,
                        std::size_t limit) {
  std::string line = format_rfc3339(at);
  line += fmt::format(" {:<5} {}: ", level_name(level), component);
  append_json_string(line, message, limit);
  for (const LogField& field : fields) {
    line += fmt::format(" {}=", field.key);
    append_value(line, field.value, limit);
  }
  line += '\n';
  return line;
}

std::string format_json(WallTime at, LogLevel level, std::string_view component,
                        std::string_view message, std::span<const LogField> fields,
                        std::size_t limit) {
  std::string line;
  line.reserve(256);
  line += R"({"at":")" + format_rfc3339(at) + R"(","level":")";
  line += level_name(level);
  line += R"(","component":)";
  append_json_string(line, component, kMaxNameBytes);
  line += R"(,"message":)";
  append_json_string(line, message, limit);
  for (const LogField& field : fields) {
    line += ',';
    append_json_string(line, field.key, kMaxNameBytes);
    line += ':';
    append_value(line, field.value, limit);
  }
  line += "}\n";
  return line;
}

}  // namespace

std::string_view level_name(LogLevel level) {
  switch (level) {
    case LogLevel::debug: return "debug";
    case LogLevel::info: return "info";
    case LogLevel::warn: return "warn";
    case LogLevel::error: return "error";
  }
  return "info";
}

JsonLog::JsonLog(JsonLogOptions options, std::shared_ptr<const Clock> clock, Metrics& metrics)
    : options_(options),
      clock_(std::move(clock)),
      level_(options.level),
      dropped_(
          metrics.counter("alga_log_dropped_lines_total", "Log lines that did not fit the queue")) {
  thread_ = std::thread([this] {
    async::name_this_thread("log");
    run();
  });
}

JsonLog::~JsonLog() {
  {
    const std::scoped_lock lock(mutex_);
    closed_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void JsonLog::write(LogLevel level, std::string_view component, std::string_view message,
                    std::span<const LogField> fields) noexcept {
  try {
    const std::string line = format_line(level, component, message, fields);
    bool was_empty = false;
    {
      const std::scoped_lock lock(mutex_);
      if (queue_.size() + line.size() > options_.max_queued_bytes) {
        ++dropped_lines_;
        dropped_.add();
        return;
      }
      was_empty = queue_.empty();
      queue_ += line;
      queued_total_ += line.size();
    }
    if (was_empty) wake_.notify_one();
  } catch (...) {  // out of memory: a log line is not worth the process
    dropped_.add();
  }
}

std::string JsonLog::format_line(LogLevel level, std::string_view component,
                                 std::string_view message, std::span<const LogField> fields) const {
  const auto format = options_.format == LogFormat::json ? &format_json : &format_text;
  return format(clock_->wall(), level, component, message, fields, options_.max_value_bytes);
}

bool JsonLog::flush(SteadyTime deadline) {
  std::unique_lock lock(mutex_);
  const std::uint64_t goal = queued_total_;
  return written_.wait_until(lock, deadline, [&] { return written_total_ >= goal; });
}

std::string JsonLog::dropped_line(std::uint64_t lines) const {
  const LogField count{"dropped", lines};
  return format_line(LogLevel::warn, "log", "log lines were dropped", {&count, 1});
}

void JsonLog::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return closed_ || !queue_.empty(); });
    if (queue_.empty()) return;
    // One write for all lines of a moment: waking up for each would cost more than the line.
    const auto linger = comes_late() ? std::chrono::milliseconds{400} : options_.linger;
    if (!closed_) wake_.wait_for(lock, linger, [this] { return closed_; });
    std::string batch = std::exchange(queue_, {});
    const std::uint64_t lines = std::exchange(dropped_lines_, 0);
    const std::size_t size = batch.size();
    lock.unlock();
    if (lines > 0) batch += dropped_line(lines);
    const bool good = write_out(batch);
    lock.lock();
    written_total_ += size;
    written_.notify_all();
    if (!good && closed_) return;
  }
}

bool JsonLog::write_out(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(options_.descriptor, text.data(), text.size());
    if (written > 0) {
      text.remove_prefix(static_cast<std::size_t>(written));
      continue;
    }
    if (errno == EINTR) continue;
    // A closed pipe or a full disk: these lines are lost, later ones may not be.
    if (errno != EAGAIN && errno != EWOULDBLOCK) return false;
    pollfd waiting{.fd = options_.descriptor, .events = POLLOUT, .revents = 0};
    const int ready = ::poll(&waiting, 1, kClosingPatienceMs);
    const std::scoped_lock lock(mutex_);
    if (ready == 0 && closed_) return false;
  }
  return true;
}

}  // namespace alga::telemetry
