#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/log.h"

namespace alga::domain {

/// Identity that every record carries. Plain text, already validated.
struct ExecutionIdentity {
  std::string tenant, extension, install, version, request_id, trace_id;
  /// For traces only, never stored: its span, the span that called, and whether the trace is
  /// sampled.
  std::string span_id = {}, parent_id = {};
  bool sampled = false;
};

/// What one execution did, written when it ended.
struct ExecutionRecord {
  std::string id;  ///< UUIDv7; makes delivery idempotent
  ExecutionIdentity who;
  WallTime started, finished;
  std::string end_class;
  std::string code;
  std::uint16_t status = 0;
  std::string config_version, secrets_version;
  std::uint64_t queue_us = 0, cold_us = 0, instantiate_us = 0, call_us = 0, cpu_us = 0;
  std::uint64_t peak_memory_bytes = 0, host_bytes = 0, egress_bytes = 0;
  std::uint32_t host_calls = 0;
  std::uint64_t response_bytes = 0;
  std::string method, path;  ///< path without the query string
  std::string author_error;  ///< message and guest stack, for the author only
};

struct GuestLogLine {
  ExecutionIdentity who;
  WallTime at;
  LogLevel level = LogLevel::info;
  std::string stream;   ///< `log`, `stdout` or `stderr`
  std::string message;  ///< terminal-safe, bounded
  bool truncated = false;
};

/// A secret was read, a capability or an address was denied.
struct CapabilityEvent {
  ExecutionIdentity who;
  WallTime at;
  std::string kind;    ///< `secret_read`, `denied`, `egress_denied`
  std::string target;  ///< redacted
  std::string reason;
};

/// Takes records without blocking; bounded: when full it drops the newest and counts them.
class RecordSink {
 public:
  virtual ~RecordSink() = default;
  virtual void execution(ExecutionRecord record) noexcept = 0;
  virtual void guest_log(GuestLogLine line) noexcept = 0;
  virtual void capability(CapabilityEvent event) noexcept = 0;
};

}  // namespace alga::domain
