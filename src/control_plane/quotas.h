#pragma once

#include <array>
#include <boost/json/object.hpp>
#include <optional>
#include <string>

#include "control_plane/core.h"

namespace alga::control_plane {

/// What of a tenant is counted. CPU and memory-time are those of its guests.
struct QuotaAmounts {
  std::uint64_t invocations = 0;
  std::uint64_t cpu_us = 0;
  std::uint64_t memory_mb_ms = 0;  ///< peak memory times the time it was held
  std::uint64_t egress_bytes = 0;
};

/// Begin and end of the window of `period` that `at` lies in. Windows are those of UTC.
struct QuotaWindow {
  QuotaPeriod period = QuotaPeriod::day;
  WallTime begin, end;
};
[[nodiscard]] QuotaWindow quota_window(QuotaPeriod period, WallTime at);

/// The state of one tenant's window inside a transaction that writes, which makes it hold across
/// hosts. Invocations are counted when they are admitted, so never one too many. What an execution
/// costs is known at its end only: a used-up quota lets the executions that run finish and admits
/// no other, so the excess is at most what runs at once, each within its own limits.
class QuotaGate {
 public:
  /// Reads quota and usage of `tenant`.
  [[nodiscard]] static Result<QuotaGate> open(sql::Executor& sql, const Core& core,
                                              const std::string& tenant);
  /// Error: `quota.invocations_exceeded`, `quota.cpu_exceeded`, `quota.memory_exceeded`,
  /// `quota.egress_exceeded`, each with the time until the next window.
  [[nodiscard]] Status judge() const;
  /// Counts one that was admitted.
  void count() { ++admitted_; }
  /// Writes what was counted.
  Status close(sql::Executor& sql) const;

 private:
  std::string tenant_;
  QuotaWindow window_;
  WallTime now_;
  QuotaLimits limits_;
  QuotaAmounts used_;
  std::uint64_t admitted_ = 0;
};

/// Adds to the tenant's window and to the install's hourly row.
Status count_usage(sql::Executor& sql, const Core& core, const domain::ExecutionRecord& record,
                   bool admitted_before);

/// Quotas as administrators see and set them. Blocks.
class Quotas {
 public:
  explicit Quotas(const Core& core) : core_(core) {}

  /// `{tenant, period, window_start, window_end, limits, used}`; a limit of null is none.
  /// Error: `tenant.not_found`.
  [[nodiscard]] Result<boost::json::object> report(const TenantId& tenant) const;
  /// A member that is absent falls back to the server's default, null lifts the limit.
  using Change = std::array<std::optional<std::optional<std::uint64_t>>, 4>;
  /// The names of `Change`, in order.
  static constexpr std::array<std::string_view, 4> kNames{"invocations", "cpu_ms", "memory_mb_s",
                                                          "egress_bytes"};
  /// Replaces the tenant's own limits. In effect for every invocation that starts afterwards.
  Status set(const Caller& caller, const TenantId& tenant, const Change& change);
  /// Forgets windows that ended more than `kept` ago. Answers how many rows went.
  Result<std::uint64_t> sweep(std::chrono::hours kept);

 private:
  const Core& core_;
};

}  // namespace alga::control_plane
