#pragma once

#include <boost/json/array.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "async/task.h"
#include "control_plane/core.h"
#include "httpd/message.h"

namespace alga::control_plane {

/// Which guest log lines. The tenant is the caller's, never the query's.
struct LogQuery {
  TenantId tenant;
  std::optional<std::string> install;  ///< id
  std::optional<std::string> request;
  LogLevel least = LogLevel::debug;
  std::uint32_t limit = 100;
  std::string stream;  ///< `log`, `stdout` or `stderr`; empty: all
  std::string after;   ///< id of the last line seen; empty: the newest lines
};

struct LogPage {
  boost::json::array lines;  ///< oldest first
  std::string last;          ///< id of the newest line, or what `after` was
};

/// Blocks.
[[nodiscard]] Result<LogPage> read_logs(const Core& core, const LogQuery& query);

/// Whether whoever opened a stream may still read it; the error says why not.
using StillAllowed = std::function<async::Task<Status>()>;

/// Server-sent events: the lines that are there, then those that come. A comment keeps the
/// connection alive. Every two seconds `still_allowed` is asked; when it says no, or cannot say,
/// the stream ends with `event: end` and `data: {"code":…}`. After half an hour it ends without a
/// word and the client opens another one.
[[nodiscard]] httpd::BodyStream follow_logs(const Core& core, LogQuery query,
                                            StillAllowed still_allowed);

/// Which executions. What is empty does not select.
struct ExecutionQuery {
  TenantId tenant;
  std::string id, install, request, status;
  std::optional<WallTime> before;  ///< started earlier than this
  std::string older_than;          ///< the id of an execution, for the next page; or empty
  std::uint32_t limit = 50;
};

/// Executions of a tenant, newest first: times, how they ended, what they used. Blocks.
[[nodiscard]] Result<boost::json::array> read_executions(const Core& core,
                                                         const ExecutionQuery& query);

}  // namespace alga::control_plane
