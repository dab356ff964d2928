#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "base/metrics.h"
#include "base/result.h"
#include "domain/execute.h"
#include "json/parse.h"

namespace alga::domain {

/// Every limit of the platform, in the order of the table.
enum class Limit : std::uint8_t {
  wall_time,
  cpu_time,
  memory,
  table_elements,
  component_size,
  components_in_memory,
  components_on_disk,
  request_body,
  response_body,
  header_count,
  header_bytes,
  fetch_calls,
  fetch_response,
  fetch_time,
  ui_payload,
  host_calls,
  host_bytes,
  log_line,
  log_lines,
  log_bytes,
  stdio_bytes,
  bundle_archive,
  bundle_unpacked,
  bundle_entries,
  storage_value,
  storage_metadata,
  storage_bulk_items,
  storage_bulk_bytes,
  storage_namespaces,
  storage_keys,
  storage_bytes,
  executions,
  executions_per_tenant,
  executions_per_install,
  queue_wait,
};
inline constexpr std::size_t limit_count = 35;

enum class LimitUnit : std::uint8_t { count, bytes, milliseconds };

struct LimitInfo {
  Limit limit;
  std::string_view name;  ///< `wall_time`: in the configuration and as the metric's label
  LimitUnit unit;
  std::uint64_t default_value;
  std::uint64_t minimum;  ///< less makes no sense and is refused in the configuration
  std::uint64_t maximum;  ///< what an operator may configure at most
  std::string_view code;  ///< what a hit is reported as
  std::string_view description;
};

[[nodiscard]] std::span<const LimitInfo, limit_count> all_limits();
[[nodiscard]] const LimitInfo& info(Limit limit);
[[nodiscard]] std::optional<Limit> parse_limit(std::string_view name);

/// How many executions may wait for a place, and how many may be prepared at a time, in a process
/// that runs so many at once: of all tenants, of one, and of one install.
struct Lines {
  std::uint32_t process, tenant, install;
};
[[nodiscard]] Lines lines_of(std::uint32_t executions);

/// Every hit counts here, with the label `limit` = name.
inline constexpr std::string_view limit_hits_metric = "alga_limit_hits_total";

/// Counts one hit.
void count_limit_hit(Metrics& metrics, Limit limit);
/// The same for the one limit that `code` reports; nothing when there is none or more than one.
void count_limit_hit(Metrics& metrics, std::string_view code);

/// Instructions that count as one millisecond of CPU time when a caller gives `fuel`.
inline constexpr std::uint64_t fuel_per_cpu_ms = 1'000'000;

/// What this server gives without being asked, and the most it gives. A plain value.
class ServerLimits {
 public:
  /// Every default; maxima as in the table.
  ServerLimits();

  [[nodiscard]] std::uint64_t value(Limit limit) const { return values_[index(limit)]; }
  [[nodiscard]] std::uint64_t maximum(Limit limit) const { return maxima_[index(limit)]; }

  /// Error: `limit.out_of_range` outside the table's bounds. A value above the maximum in force is
  /// cut to it, whichever is set first.
  [[nodiscard]] Status set_value(Limit limit, std::uint64_t value);
  [[nodiscard]] Status set_maximum(Limit limit, std::uint64_t maximum);

 private:
  static constexpr std::size_t index(Limit limit) { return static_cast<std::size_t>(limit); }
  std::array<std::uint64_t, limit_count> values_;
  std::array<std::uint64_t, limit_count> maxima_;
};

/// Reads `{timeout_ms?, memory_mb?, fuel?}`. Absent and null mean "not asked". Whole numbers from
/// 1; 0, negative and fractional ones are refused (`limit.invalid`), however large ones are kept
/// and clamped later. Unknown members are ignored, as the reference does.
[[nodiscard]] Result<RequestedLimits> parse_requested_limits(const json::Value& value,
                                                             std::string_view path = {});

/// What one execution gets.
struct ExecutionLimits {
  std::uint64_t wall_ms = 0;
  std::uint64_t cpu_ms = 0;
  std::uint64_t memory_bytes = 0;
};

/// The install's limits may reach the server's maximum; absent ones mean the server's value. The
/// request may only ask for less than that, unless `request_may_raise` (drop-in use without
/// grants): then it too may reach the maximum. Never 0, never above the maximum.
[[nodiscard]] ExecutionLimits effective_limits(const ServerLimits& server,
                                               const RequestedLimits& install,
                                               const RequestedLimits& request,
                                               bool request_may_raise = false);

}  // namespace alga::domain
