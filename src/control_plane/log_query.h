#pragma once

#include <boost/json/array.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

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

/// Server-sent events: the lines that are there, then those that come. A comment keeps the
/// connection alive; after half an hour the stream ends and the client authenticates anew.
[[nodiscard]] httpd::BodyStream follow_logs(const Core& core, LogQuery query);

/// Which executions. What is empty does not select.
struct ExecutionQuery {
  TenantId tenant;
  std::string id, install, request, status;
  std::optional<WallTime> before;  ///< started earlier than this
  std::uint32_t limit = 50;
};

/// Executions of a tenant, newest first: times, how they ended, what they used. Blocks.
[[nodiscard]] Result<boost::json::array> read_executions(const Core& core,
                                                         const ExecutionQuery& query);

}  // namespace alga::control_plane
