#pragma once

#include <array>
#include <boost/json/object.hpp>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>

#include "control_plane/core.h"

namespace alga::control_plane {

/// What of a tenant is counted. CPU and memory-time are those of its guests.
struct QuotaAmounts {
  std::uint64_t invocations = 0;
  std::uint64_t cpu_us = 0;
  std::uint64_t memory_mb_ms = 0;  ///< peak memory times the time it was held
  std::uint64_t egress_bytes = 0;

  QuotaAmounts& operator+=(const QuotaAmounts& more);
};

/// Begin and end of the window of `period` that `at` lies in. Windows are those of UTC.
struct QuotaWindow {
  QuotaPeriod period = QuotaPeriod::day;
  WallTime begin, end;
};
[[nodiscard]] QuotaWindow quota_window(QuotaPeriod period, WallTime at);

/// The state of one tenant's window inside a transaction that writes. Its row is locked until the
/// transaction ends, which makes it hold across hosts; whoever opens several does it in the order
/// of tenants. Invocations are counted when they are admitted, so never one too many. What an
/// execution costs is known at its end only: a used-up quota lets the executions that run finish
/// and admits no other, so the excess is at most what runs at once, each within its own limits.
class QuotaGate {
 public:
  /// Reads quota and usage of `tenant`; waits for whoever has the row of its usage.
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

/// What the executions of one transaction used, by the rows that count it: each is written once, so
/// that a row which everybody writes is held for as short as can be. To wait for nobody in a
/// circle, every transaction writes executions that are there first, by their ids, then tenants by
/// their names, then installs.
class UsageTally {
 public:
  explicit UsageTally(QuotaPeriod period) : period_(period) {}

  /// An execution that was admitted by a gate has been counted as an invocation of the tenant.
  void add(const domain::ExecutionRecord& record, bool admitted_before);
  [[nodiscard]] std::set<std::string> tenants() const;
  /// Adds to the tenant's windows.
  Status write_tenant(sql::Executor& sql, const std::string& tenant) const;
  /// Adds to the hourly rows of all installs.
  Status write_installs(sql::Executor& sql) const;

 private:
  QuotaPeriod period_;
  std::map<std::string, std::map<WallTime, QuotaAmounts>> windows_;  ///< tenant, begin
  std::map<std::tuple<std::string, std::string, WallTime>, QuotaAmounts>
      installs_;  ///< tenant, install, hour
};

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
