#include "control_plane/quotas.h"

#include <fmt/format.h>

#include "base/bytes.h"
#include "control_plane/audit.h"
#include "control_plane/tenants.h"
#include "domain/ports/records.h"

namespace alga::control_plane {
namespace {

using std::chrono::days;
using std::chrono::floor;
using std::chrono::hours;

/// In a column: a limit, or none at all. NULL is the server's default.
constexpr std::int64_t kUnlimited = -1;

std::string_view name_of(QuotaPeriod period) {
  switch (period) {
    case QuotaPeriod::hour: return "hour";
    case QuotaPeriod::day: return "day";
    case QuotaPeriod::month: return "month";
  }
  return "day";
}

std::optional<std::uint64_t> limit_of(std::optional<std::int64_t> column,
                                      std::optional<std::uint64_t> otherwise) {
  if (!column) return otherwise;
  if (*column == kUnlimited) return std::nullopt;
  return static_cast<std::uint64_t>(*column);
}

Result<QuotaLimits> limits_of(sql::Executor& sql, const Core& core, const std::string& tenant) {
  TRY(auto row, sql.find("SELECT invocations, cpu_ms, memory_mb_s, egress_bytes FROM tenant_quota "
                         "WHERE tenant = $1",
                         {tenant}));
  const QuotaLimits& usual = core.options().quotas.limits;
  if (!row) return usual;
  auto own = [&](std::size_t column) { return row->at<std::optional<std::int64_t>>(column); };
  return QuotaLimits{.invocations = limit_of(own(0), usual.invocations),
                     .cpu_ms = limit_of(own(1), usual.cpu_ms),
                     .memory_mb_s = limit_of(own(2), usual.memory_mb_s),
                     .egress_bytes = limit_of(own(3), usual.egress_bytes)};
}

/// None when nothing has been counted there.
Result<std::optional<QuotaAmounts>> used_in(sql::Executor& sql, const std::string& tenant,
                                            const QuotaWindow& window, std::string_view lock) {
  TRY(auto row, sql.find(fmt::format("SELECT invocations, cpu_us, memory_mb_ms, egress_bytes FROM "
                                     "tenant_quota_usage WHERE tenant = $1 AND period = $2 AND "
                                     "window_start = $3{}",
                                     lock),
                         {tenant, name_of(window.period), window.begin}));
  if (!row) return std::optional<QuotaAmounts>{};
  auto [invocations, cpu, memory, egress] =
      row->as<std::uint64_t, std::uint64_t, std::uint64_t, std::uint64_t>();
  return QuotaAmounts{invocations, cpu, memory, egress};
}

Status add_to_window(sql::Executor& sql, const std::string& tenant, const QuotaWindow& window,
                     const QuotaAmounts& more) {
  TRY_VOID(sql.execute(
      "INSERT INTO tenant_quota_usage (tenant, period, window_start, invocations, cpu_us, "
      "memory_mb_ms, egress_bytes) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (tenant, "
      "period, window_start) DO UPDATE SET invocations = tenant_quota_usage.invocations + "
      "excluded.invocations, cpu_us = tenant_quota_usage.cpu_us + excluded.cpu_us, memory_mb_ms = "
      "tenant_quota_usage.memory_mb_ms + excluded.memory_mb_ms, egress_bytes = "
      "tenant_quota_usage.egress_bytes + excluded.egress_bytes",
      {tenant, name_of(window.period), window.begin, more.invocations, more.cpu_us,
       more.memory_mb_ms, more.egress_bytes}));
  return {};
}

/// What a window holds, as nobody else can change it until the transaction ends.
Result<QuotaAmounts> lock_window(sql::Executor& sql, const std::string& tenant,
                                 const QuotaWindow& window) {
  TRY(auto used, used_in(sql, tenant, window, sql.row_lock()));
  if (used) return *used;
  // A row that is not there cannot be locked.
  TRY_VOID(add_to_window(sql, tenant, window, {}));
  TRY(used, used_in(sql, tenant, window, sql.row_lock()));
  return used.value_or(QuotaAmounts{});
}

bool reached(std::uint64_t used, std::optional<std::uint64_t> limit, std::uint64_t unit = 1) {
  // Dividing cannot overflow, whatever limit an operator set.
  return limit && used / unit >= *limit;
}

boost::json::value shown(std::optional<std::uint64_t> limit) {
  return limit ? boost::json::value(*limit) : boost::json::value(nullptr);
}

}  // namespace

QuotaWindow quota_window(QuotaPeriod period, WallTime at) {
  using std::chrono::months;
  switch (period) {
    case QuotaPeriod::hour: {
      auto begin = floor<hours>(at);
      return {period, WallTime{begin}, WallTime{begin + hours{1}}};
    }
    case QuotaPeriod::day: {
      auto begin = floor<days>(at);
      return {period, WallTime{begin}, WallTime{begin + days{1}}};
    }
    case QuotaPeriod::month: break;
  }
  std::chrono::year_month_day today{floor<days>(at)};
  auto first = today.year() / today.month() / std::chrono::day{1};
  return {period, WallTime{std::chrono::sys_days{first}},
          WallTime{std::chrono::sys_days{first + months{1}}}};
}

Result<QuotaGate> QuotaGate::open(sql::Executor& sql, const Core& core, const std::string& tenant) {
  QuotaGate gate;
  gate.tenant_ = tenant;
  gate.now_ = core.now();
  gate.window_ = quota_window(core.options().quotas.period, gate.now_);
  TRY(gate.limits_, limits_of(sql, core, tenant));
  TRY(gate.used_, lock_window(sql, tenant, gate.window_));
  return gate;
}

Status QuotaGate::judge() const {
  std::string_view code;
  std::string_view what;
  if (reached(used_.invocations + admitted_, limits_.invocations)) {
    code = "quota.invocations_exceeded";
    what = "invocations";
  } else if (reached(used_.cpu_us, limits_.cpu_ms, 1'000)) {
    code = "quota.cpu_exceeded";
    what = "CPU time";
  } else if (reached(used_.memory_mb_ms, limits_.memory_mb_s, 1'000)) {
    code = "quota.memory_exceeded";
    what = "memory-time";
  } else if (reached(used_.egress_bytes, limits_.egress_bytes)) {
    code = "quota.egress_exceeded";
    what = "outbound bytes";
  } else {
    return {};
  }
  auto wait = std::chrono::ceil<std::chrono::seconds>(window_.end - now_);
  return fail(
      Error{Kind::rate_limited, code,
            fmt::format("the tenant's {} of this {} are used up", what, name_of(window_.period)),
            static_cast<std::uint32_t>(wait.count())});
}

Status QuotaGate::close(sql::Executor& sql) const {
  if (admitted_ == 0) return {};
  return add_to_window(sql, tenant_, window_, {.invocations = admitted_});
}

QuotaAmounts& QuotaAmounts::operator+=(const QuotaAmounts& more) {
  invocations += more.invocations;
  cpu_us += more.cpu_us;
  memory_mb_ms += more.memory_mb_ms;
  egress_bytes += more.egress_bytes;
  return *this;
}

void UsageTally::add(const domain::ExecutionRecord& record, bool admitted_before) {
  const std::uint64_t held_ms = (record.instantiate_us + record.call_us) / 1'000;
  QuotaAmounts used{.invocations = 1,
                    .cpu_us = record.cpu_us,
                    .memory_mb_ms = (record.peak_memory_bytes >> 20U) * held_ms,
                    .egress_bytes = record.egress_bytes};
  const std::string& tenant = record.who.tenant;
  installs_[{tenant, record.who.install, WallTime{floor<hours>(record.finished)}}] += used;
  if (admitted_before) used.invocations = 0;
  windows_[tenant][quota_window(period_, record.finished).begin] += used;
}

std::set<std::string> UsageTally::tenants() const {
  std::set<std::string> names;
  for (const auto& [tenant, windows] : windows_) names.insert(tenant);
  return names;
}

Status UsageTally::write_tenant(sql::Executor& sql, const std::string& tenant) const {
  const auto its = windows_.find(tenant);
  if (its == windows_.end()) return {};
  for (const auto& [begin, used] : its->second) {
    TRY_VOID(add_to_window(sql, tenant, quota_window(period_, begin), used));
  }
  return {};
}

Status UsageTally::write_installs(sql::Executor& sql) const {
  for (const auto& [row, used] : installs_) {
    const auto& [tenant, install, hour] = row;
    TRY_VOID(sql.execute(
        "INSERT INTO extension_quota_usage (tenant, install_id, window_start, invocations, cpu_us, "
        "memory_mb_ms, egress_bytes) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (tenant, "
        "install_id, window_start) DO UPDATE SET invocations = extension_quota_usage.invocations + "
        "excluded.invocations, cpu_us = extension_quota_usage.cpu_us + excluded.cpu_us, "
        "memory_mb_ms = extension_quota_usage.memory_mb_ms + excluded.memory_mb_ms, egress_bytes = "
        "extension_quota_usage.egress_bytes + excluded.egress_bytes",
        {tenant, install, hour, used.invocations, used.cpu_us, used.memory_mb_ms,
         used.egress_bytes}));
  }
  return {};
}

Result<boost::json::object> Quotas::report(const TenantId& tenant) const {
  QuotaWindow window = quota_window(core_.options().quotas.period, core_.now());
  QuotaLimits limits;
  QuotaAmounts used;
  TRY_VOID(core_.db().read([&](sql::Executor& sql) -> Status {
    TRY_VOID(require_tenant(sql, tenant));
    TRY(limits, limits_of(sql, core_, tenant.str()));
    TRY(auto counted, used_in(sql, tenant.str(), window, ""));
    used = counted.value_or(QuotaAmounts{});
    return {};
  }));
  return boost::json::object{
      {"tenant", tenant.str()},
      {"period", name_of(window.period)},
      {"window_start", format_rfc3339(window.begin)},
      {"window_end", format_rfc3339(window.end)},
      {"limits", boost::json::object{{"invocations", shown(limits.invocations)},
                                     {"cpu_ms", shown(limits.cpu_ms)},
                                     {"memory_mb_s", shown(limits.memory_mb_s)},
                                     {"egress_bytes", shown(limits.egress_bytes)}}},
      {"used", boost::json::object{{"invocations", used.invocations},
                                   {"cpu_ms", used.cpu_us / 1'000},
                                   {"memory_mb_s", used.memory_mb_ms / 1'000},
                                   {"egress_bytes", used.egress_bytes}}}};
}

Status Quotas::set(const Caller& caller, const TenantId& tenant, const Change& change) {
  std::vector<sql::Value> values{sql::Value{tenant.str()}};
  boost::json::object details;
  for (std::size_t i = 0; i < change.size(); ++i) {
    std::optional<std::int64_t> column;
    if (const auto& wanted = change[i]; wanted.has_value()) {
      const std::optional<std::uint64_t>& limit = wanted.value();
      column = limit ? static_cast<std::int64_t>(*limit) : kUnlimited;
      details[kNames[i]] = shown(limit);
    }
    values.emplace_back(column);
  }
  values.emplace_back(core_.now());
  return core_.db().write([&](sql::Executor& sql) -> Status {
    TRY_VOID(require_tenant(sql, tenant));
    TRY_VOID(sql.execute(
        "INSERT INTO tenant_quota (tenant, invocations, cpu_ms, memory_mb_s, egress_bytes, "
        "updated_at) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (tenant) DO UPDATE SET "
        "invocations = excluded.invocations, cpu_ms = excluded.cpu_ms, memory_mb_s = "
        "excluded.memory_mb_s, egress_bytes = excluded.egress_bytes, updated_at = "
        "excluded.updated_at",
        values));
    return append_audit(sql, core_, caller,
                        {.tenant = tenant.str(),
                         .action = "tenant.quota_set",
                         .target = tenant.str(),
                         .details = details});
  });
}

Result<std::uint64_t> Quotas::sweep(std::chrono::hours kept) {
  WallTime before = core_.now() - kept;
  return core_.db().write([&](sql::Executor& sql) -> Result<std::uint64_t> {
    TRY(std::uint64_t tenants,
        sql.execute("DELETE FROM tenant_quota_usage WHERE window_start < $1", {before}));
    TRY(std::uint64_t installs,
        sql.execute("DELETE FROM extension_quota_usage WHERE window_start < $1", {before}));
    return tenants + installs;
  });
}

}  // namespace alga::control_plane
