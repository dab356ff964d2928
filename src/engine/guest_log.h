#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/log.h"
#include "domain/limits.h"
#include "domain/ports/records.h"
#include "domain/secret_map.h"

namespace alga::engine {

/// What a terminal or a log viewer can show without being steered: control characters, line
/// separators and ill-formed UTF-8 become visible escapes.
[[nodiscard]] std::string printable(std::string_view text);

/// The log of one execution: `logging.*` and the guest's stdout and stderr, bounded in lines, line
/// length and bytes. What does not fit is counted and said once, at the end. One thread at a time.
class GuestLog {
 public:
  /// `who` and `records` outlive the log; `records` may be null, and so may `secrets`, whose values
  /// are masked in what the guest writes.
  GuestLog(const domain::ExecutionIdentity& who, domain::RecordSink* records, const Clock& clock,
           const domain::ServerLimits& limits,
           std::shared_ptr<const domain::SecretMap> secrets = nullptr);

  void line(LogLevel level, std::string_view message);
  /// fd 1 or 2; split at newlines, an unfinished line waits.
  void stdio(int fd, std::string_view bytes);
  /// Writes unfinished lines and the note on what was dropped.
  void finish();

  [[nodiscard]] std::uint64_t dropped_lines() const { return dropped_; }
  /// The limits that cut or dropped something, each once.
  [[nodiscard]] const std::set<domain::Limit>& hits() const [[clang::lifetimebound]] {
    return hits_;
  }
  [[nodiscard]] bool wrote_stderr() const { return wrote_stderr_; }

 private:
  void emit(LogLevel level, std::string_view stream, std::string_view message);
  void flush(int fd);

  const domain::ExecutionIdentity& who_;
  domain::RecordSink* records_;
  const std::shared_ptr<const domain::SecretMap> secrets_;
  const Clock& clock_;
  const std::uint64_t max_line_, max_lines_, max_bytes_, max_stdio_;
  std::uint64_t lines_ = 0, bytes_ = 0, stdio_bytes_ = 0, dropped_ = 0;
  std::set<domain::Limit> hits_;
  std::string partial_[2];
  bool wrote_stderr_ = false;
};

}  // namespace alga::engine
