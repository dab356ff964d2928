#pragma once

#include <boost/json/array.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
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

/// How many streams of log lines may be open in this process; each asks the database three times a
/// second. Thread-safe; outlives the places that it gives.
class LogFollowers {
 public:
  static constexpr std::size_t most_of_tenant = 8, most = 64;

  explicit LogFollowers(const Core& core) : core_(core) {}
  /// A place until the answer is destroyed. Error: `log.too_many_followers`; a hit of the limit
  /// `log_followers`.
  [[nodiscard]] Result<std::shared_ptr<const void>> take(const TenantId& tenant);

 private:
  void give_back(const std::string& tenant);
  const Core& core_;
  std::mutex mutex_;
  std::map<std::string, std::size_t> of_tenant_;
  std::size_t all_ = 0;
};

/// Server-sent events: the lines that are there, then those that come. A comment keeps the
/// connection alive. Every two seconds `still_allowed` is asked; when it says no, or cannot say,
/// the stream ends with `event: end` and `data: {"code":…}`. After half an hour it ends without a
/// word and the client opens another one. `place` is held as long as the stream.
[[nodiscard]] httpd::BodyStream follow_logs(const Core& core, LogQuery query,
                                            StillAllowed still_allowed,
                                            std::shared_ptr<const void> place);

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
