#include "engine/guest_log.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "base/bytes.h"

namespace alga::engine {
namespace {

using domain::Limit;

/// Length of the well-formed UTF-8 sequence at the start of `text`, or 0.
std::size_t sequence(std::string_view text) {
  for (std::size_t length = 1; length <= std::min<std::size_t>(4, text.size()); ++length) {
    if (is_utf8(text.substr(0, length))) return length;
  }
  return 0;
}

bool steers(std::string_view character) {
  auto first = static_cast<unsigned char>(character[0]);
  if (first < 0x20) return first != '\t';
  if (first == 0x7F) return true;
  auto second = character.size() > 1 ? static_cast<unsigned char>(character[1]) : 0U;
  if (first == 0xC2 && second < 0xA0) return true;  // C1 controls
  // Line and paragraph separators; bidirectional embeddings, overrides and isolates.
  return character == "\u2028" || character == "\u2029" ||
         (character >= "\u202a" && character <= "\u202e") ||
         (character >= "\u2066" && character <= "\u2069");
}

void escape(std::string& out, std::string_view bytes) {
  for (char c : bytes) {
    char buffer[5];
    std::snprintf(buffer, sizeof buffer, "\\x%02x", static_cast<unsigned char>(c));
    out.append(buffer, 4);
  }
}

}  // namespace

std::string printable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    std::size_t length = sequence(text);
    std::string_view character = text.substr(0, std::max<std::size_t>(length, 1));
    if (length == 0 || steers(character)) {
      escape(out, character);
    } else {
      out.append(character);
    }
    text.remove_prefix(character.size());
  }
  return out;
}

GuestLog::GuestLog(const domain::ExecutionIdentity& who, domain::RecordSink* records,
                   const Clock& clock, const domain::ServerLimits& limits,
                   std::shared_ptr<const domain::SecretMap> secrets)
    : who_(who),
      records_(records),
      secrets_(std::move(secrets)),
      clock_(clock),
      max_line_(limits.value(Limit::log_line)),
      max_lines_(limits.value(Limit::log_lines)),
      max_bytes_(limits.value(Limit::log_bytes)),
      max_stdio_(limits.value(Limit::stdio_bytes)) {}

void GuestLog::line(LogLevel level, std::string_view message) { emit(level, "log", message); }

void GuestLog::stdio(int fd, std::string_view bytes) {
  if (fd == 2 && !bytes.empty()) wrote_stderr_ = true;
  std::uint64_t room = max_stdio_ - std::min(max_stdio_, stdio_bytes_);
  if (bytes.size() > room) {
    ++dropped_;
    hits_.insert(Limit::stdio_bytes);
    bytes = bytes.substr(0, room);
  }
  stdio_bytes_ += bytes.size();
  std::string& partial = partial_[fd == 2 ? 1 : 0];
  while (!bytes.empty()) {
    std::size_t end = bytes.find('\n');
    std::string_view piece = bytes.substr(0, end);
    // One byte more than fits, so that emit() sees that it is too long.
    std::size_t space = max_line_ + 1 - std::min<std::uint64_t>(max_line_ + 1, partial.size());
    partial.append(piece.substr(0, space));
    if (end == std::string_view::npos) return;
    flush(fd);
    bytes.remove_prefix(end + 1);
  }
}

void GuestLog::flush(int fd) {
  std::string& partial = partial_[fd == 2 ? 1 : 0];
  emit(fd == 2 ? LogLevel::error : LogLevel::info, fd == 2 ? "stderr" : "stdout", partial);
  partial.clear();
}

void GuestLog::finish() {
  for (int fd : {1, 2}) {
    if (!partial_[fd == 2 ? 1 : 0].empty()) flush(fd);
  }
  if (dropped_ == 0 || records_ == nullptr) return;
  records_->guest_log({who_, clock_.wall(), LogLevel::warn, "log",
                       std::to_string(dropped_) + " log lines were dropped: over the limit", true});
}

void GuestLog::emit(LogLevel level, std::string_view stream, std::string_view message) {
  if (lines_ >= max_lines_ || bytes_ + message.size() > max_bytes_) {
    ++dropped_;
    hits_.insert(lines_ >= max_lines_ ? Limit::log_lines : Limit::log_bytes);
    return;
  }
  bool cut = message.size() > max_line_;
  if (cut) hits_.insert(Limit::log_line);
  // Masked before it is cut: the cut must not go through a secret and leave its beginning.
  std::string masked;
  if (secrets_ != nullptr && secrets_->longest_masked() != 0) {
    masked = secrets_->mask(message.substr(0, max_line_ + secrets_->longest_masked()));
    message = masked;
  }
  std::string_view kept = utf8_prefix(message, max_line_);
  ++lines_;
  bytes_ += kept.size();
  if (records_ != nullptr) {
    records_->guest_log({who_, clock_.wall(), level, std::string(stream), printable(kept), cut});
  }
}

}  // namespace alga::engine
