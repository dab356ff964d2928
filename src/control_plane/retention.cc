#include "control_plane/retention.h"

#include "control_plane/some_rows.h"

namespace alga::control_plane {
namespace {

/// Small transactions: the writer of records must get its turn.
constexpr std::uint64_t kRowsAtOnce = 5'000;

/// length() counts characters in both dialects.
std::string bytes_of_message(sql::Dialect dialect) {
  return dialect == sql::Dialect::sqlite ? "length(CAST(message AS BLOB))"
                                         : "octet_length(message)";
}

}  // namespace

Result<std::uint64_t> Retention::sweep() {
  const RetentionPolicy& policy = core_.options().retention;
  std::uint64_t gone = 0;
  auto erase = [&](std::string_view table, std::string_view column, WallTime before) -> Status {
    const std::string which = "WHERE " + std::string(column) + " < $1 LIMIT $2";
    const std::string text = "DELETE FROM " + std::string(table) + " WHERE " +
                             is_one_of(core_.db().dialect(), table, which, Held::skipped);
    while (true) {
      TRY(std::uint64_t rows, core_.db().write([&](sql::Executor& sql) {
        return sql.execute(text, {before, kRowsAtOnce});
      }));
      gone += rows;
      if (rows < kRowsAtOnce) return {};
    }
  };
  TRY_VOID(erase("extension_guest_log", "at", core_.now() - policy.guest_logs));
  TRY_VOID(erase("extension_execution_log", "started_at", core_.now() - policy.executions));
  TRY_VOID(write_off());
  TRY(sql::Rows tenants, core_.db().read([&](sql::Executor& sql) {
    return sql.query("SELECT tenant, CAST(sum(" + bytes_of_message(sql.dialect()) +
                     ") AS BIGINT) FROM extension_guest_log GROUP BY tenant");
  }));
  for (const sql::Row& row : tenants) {
    auto [tenant, bytes] = row.as<std::string, std::uint64_t>();
    if (bytes <= policy.guest_log_bytes_per_tenant) continue;
    TRY(std::uint64_t rows, trim_tenant(tenant, bytes - policy.guest_log_bytes_per_tenant));
    gone += rows;
  }
  return gone;
}

Status Retention::write_off() {
  const WallTime now = core_.now();
  const std::string text =
      "UPDATE extension_execution_log SET finished_at = $1, error = 'gateway_lost', status = CASE "
      "end_class WHEN 'ok' THEN 'ok' WHEN 'wall_limit' THEN 'timeout' WHEN 'cpu_limit' THEN "
      "'timeout' ELSE 'error' END WHERE " +
      is_one_of(core_.db().dialect(), "extension_execution_log",
                "WHERE status = 'started' AND started_at < $2 LIMIT $3", Held::skipped);
  while (true) {
    TRY(const std::uint64_t rows, core_.db().write([&](sql::Executor& sql) {
      return sql.execute(text, {now, now - core_.options().retention.unfinished, kRowsAtOnce});
    }));
    if (rows < kRowsAtOnce) return {};
  }
}

Result<std::uint64_t> Retention::trim_tenant(const std::string& tenant, std::uint64_t bytes) {
  std::uint64_t gone = 0;
  std::uint64_t freed = 0;
  while (freed < bytes) {
    TRY(sql::Rows oldest, core_.db().read([&](sql::Executor& sql) {
      return sql.query("SELECT id, " + bytes_of_message(sql.dialect()) +
                           " FROM extension_guest_log WHERE tenant = $1 ORDER BY id LIMIT $2",
                       {tenant, kRowsAtOnce});
    }));
    if (oldest.empty()) break;
    std::string last;
    for (const sql::Row& row : oldest) {
      if (freed >= bytes) break;
      last = row.at<std::string>(0);
      freed += row.at<std::uint64_t>(1);
    }
    TRY(std::uint64_t rows, core_.db().write([&](sql::Executor& sql) {
      return sql.execute("DELETE FROM extension_guest_log WHERE tenant = $1 AND id <= $2",
                         {tenant, last});
    }));
    gone += rows;
  }
  return gone;
}

}  // namespace alga::control_plane
