#include <algorithm>
#include <map>

#include "control_plane/some_rows.h"
#include "control_plane/storage_records.h"

namespace alga::control_plane {
namespace {

/// Of one sweep, so that the other duties of housekeeping get their turn.
constexpr std::uint64_t kLongestSweep = 20'000;
constexpr std::size_t kInstallsAtOnce = 100;

}  // namespace

Result<std::uint64_t> StorageRecords::forget_expired(sql::Executor& sql,
                                                     const domain::StorageScope& scope,
                                                     WallTime now) const {
  TRY(sql::Rows rows,
      sql.query("DELETE FROM ext_storage_records WHERE " +
                    is_one_of(sql.dialect(), "ext_storage_records",
                              "WHERE tenant = $1 AND install_id = $2 AND ttl_expires_at <= $3 "
                              "ORDER BY ttl_expires_at LIMIT $4") +
                    " RETURNING namespace, size_bytes",
                {scope.tenant, scope.install, now, most_forgotten}));
  struct Sum {
    std::int64_t keys = 0, bytes = 0;
  };
  std::map<std::string, Sum> gone;
  for (const sql::Row& row : rows) {
    auto [ns, bytes] = row.as<std::string, std::int64_t>();
    Sum& sum = gone[ns];
    sum.keys += 1;
    sum.bytes += bytes;
  }
  for (const auto& [ns, sum] : gone) {
    TRY_VOID(add_to_counts(sql, scope, ns, -sum.keys, -sum.bytes));
  }
  if (rows.empty()) return 0;
  TRY_VOID(
      sql.execute("DELETE FROM ext_storage_namespaces WHERE tenant = $1 AND install_id = $2 AND "
                  "keys_count = 0",
                  {scope.tenant, scope.install}));
  return rows.size();
}

Result<StorageRecords::Counts> StorageRecords::counts(sql::Executor& sql,
                                                      const domain::StorageScope& scope,
                                                      const std::string& ns) {
  TRY(auto row, sql.find("SELECT count(*), CAST(sum(bytes_used) AS BIGINT), CAST(sum(CASE WHEN "
                         "namespace = $3 THEN keys_count ELSE 0 END) AS BIGINT) FROM "
                         "ext_storage_namespaces WHERE tenant = $1 AND install_id = $2",
                         {scope.tenant, scope.install, ns}));
  ALGA_CHECK(row.has_value());  // a sum is one row
  auto [namespaces, bytes, keys] = row->as<std::uint64_t, std::uint64_t, std::uint64_t>();
  return Counts{.namespaces = namespaces, .keys = keys, .bytes = bytes};
}

Status StorageRecords::leave_out_expired(sql::Executor& sql, const domain::StorageScope& scope,
                                         const std::string& ns, WallTime now,
                                         Counts& counts) const {
  TRY(sql::Rows rows,
      sql.query("SELECT e.namespace, n.keys_count, e.keys, e.bytes FROM (SELECT namespace, "
                "count(*) AS keys, CAST(sum(size_bytes) AS BIGINT) AS bytes FROM "
                "ext_storage_records WHERE tenant = $1 AND install_id = $2 AND ttl_expires_at <= "
                "$3 GROUP BY namespace) e JOIN ext_storage_namespaces n ON n.tenant = $1 AND "
                "n.install_id = $2 AND n.namespace = e.namespace",
                {scope.tenant, scope.install, now}));
  for (const sql::Row& row : rows) {
    auto [name, all, keys, bytes] =
        row.as<std::string, std::uint64_t, std::uint64_t, std::uint64_t>();
    counts.bytes -= bytes;
    if (name == ns) counts.keys -= keys;
    if (all == keys) --counts.namespaces;
  }
  return {};
}

Result<std::uint64_t> StorageRecords::forget_some(const domain::StorageScope& scope,
                                                  WallTime now) const {
  const auto body = [&](sql::Executor& sql) -> Result<std::uint64_t> {
    TRY_VOID(take_turn(sql, scope));
    return forget_expired(sql, scope, now);
  };
  return core_.db().write(body, {.isolation = sql::Isolation::read_committed});
}

Result<StorageSweep> StorageRecords::sweep() {
  const WallTime now = core_.now();
  TRY(sql::Rows rows, core_.db().read([&](sql::Executor& sql) {
    return sql.query(
        "SELECT DISTINCT tenant, install_id FROM ext_storage_records WHERE "
        "ttl_expires_at <= $1 LIMIT $2",
        {now, kInstallsAtOnce});
  }));
  StorageSweep swept{.more = rows.size() == kInstallsAtOnce};
  Status outcome;
  for (const sql::Row& row : rows) {
    auto [tenant, install] = row.as<std::string, std::string>();
    auto tenant_id = TenantId::parse(tenant);
    auto install_id = InstallId::parse(install);
    if (!tenant_id || !install_id) continue;
    Result<std::uint64_t> gone = 0;
    do {
      gone = forget_some({*tenant_id, *install_id}, now);
      swept.records += gone.value_or(0);
      swept.more |= swept.records >= kLongestSweep;
    } while (gone && *gone == most_forgotten && swept.records < kLongestSweep);
    // One install that cannot be swept keeps none of the others from it.
    if (!gone && outcome) outcome = fail(std::move(gone).error());
    if (swept.records >= kLongestSweep) break;
  }
  if (!outcome) return fail(std::move(outcome).error());
  return swept;
}

}  // namespace alga::control_plane
