#pragma once

#include <cstdint>
#include <string>

#include "async/task.h"
#include "base/clock.h"
#include "base/result.h"
#include "domain/ports/records.h"

namespace alga::domain {

/// The row that is written before the guest runs. It names the secrets made available to it.
struct StartedExecution {
  std::string id;  ///< UUIDv7, the gateway's; the finished row carries the same
  ExecutionIdentity who;
  WallTime at;
  std::string config_version, secrets_version;
  std::string method, path;  ///< path without the query string
  std::string endpoint;      ///< the declared template that matched, or empty
  std::string principal_kind, user_id;
};

/// The gateway's view of the end: `ok`, `upstream_error` (guest status 400 or more), `error` or
/// `timeout`, and a short code such as `runner_transport_error`. What a gateway refuses before its
/// start() has no row, only a metric.
struct FinishedExecution {
  std::string id;
  std::string tenant;
  WallTime at;
  std::string status;
  std::string error;  ///< short code or empty
  std::uint16_t http_status = 0;
  std::uint64_t duration_us = 0;
};

/// The execution log as the gateway writes it. start() answers once the row is stored; a gateway
/// whose start() fails does not run the guest. Errors: `records.unavailable`, and
/// `quota.…_exceeded` (Kind::rate_limited) with the time until the tenant's next window.
class ExecutionLog {
 public:
  virtual ~ExecutionLog() = default;
  virtual async::Task<Status> start(StartedExecution execution) = 0;
  /// Never blocks; delivered in batches.
  virtual void finish(FinishedExecution execution) noexcept = 0;
};

}  // namespace alga::domain
