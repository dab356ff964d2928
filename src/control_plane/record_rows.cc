#include "control_plane/record_rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <tuple>
#include <vector>

#include "telemetry/record_json.h"

namespace alga::control_plane {
namespace {

std::string metrics_of(const domain::ExecutionRecord& record) {
  return to_text(boost::json::object{{"queue_us", record.queue_us},
                                     {"cold_us", record.cold_us},
                                     {"instantiate_us", record.instantiate_us},
                                     {"call_us", record.call_us},
                                     {"cpu_us", record.cpu_us},
                                     {"peak_memory_bytes", record.peak_memory_bytes},
                                     {"host_calls", record.host_calls},
                                     {"host_bytes", record.host_bytes},
                                     {"egress_bytes", record.egress_bytes},
                                     {"response_bytes", record.response_bytes}});
}

std::string_view status_of(const domain::ExecutionRecord& record) {
  if (record.end_class == "wall_limit" || record.end_class == "cpu_limit") return "timeout";
  if (record.end_class != "ok") return "error";
  return record.status >= 400 ? "upstream_error" : "ok";
}

/// The gateway's row: the one whose id the record carries, else (a gateway that names none) one of
/// this request that no runner has completed yet. It is locked, so that of two records of one
/// request, in two transactions, the second takes another row.
///
/// Each question names the columns of one index and no other as they are: of a table that was never
/// analysed PostgreSQL takes any index that fits, also one that leads through all rows of an
/// install.
Result<std::optional<std::string>> open_row(sql::Executor& sql,
                                            const domain::ExecutionRecord& record) {
  const domain::ExecutionIdentity& who = record.who;
  TRY(auto named, sql.find(fmt::format("SELECT install_id FROM extension_execution_log WHERE "
                                       "tenant = $1 AND id = $2{}",
                                       sql.row_lock()),
                           {who.tenant, record.id}));
  if (named && named->at<std::string>(0) == who.install) return std::optional{record.id};
  TRY(auto row, sql.find(fmt::format("SELECT id FROM extension_execution_log WHERE tenant = $1 AND "
                                     "request_id = $2 AND install_id || '' = $3 AND record_id IN "
                                     "('', $4) ORDER BY record_id DESC, started_at DESC LIMIT 1{}",
                                     sql.row_lock()),
                         {who.tenant, who.request_id, who.install, record.id}));
  if (!row) return std::optional<std::string>{};
  return std::optional{row->at<std::string>(0)};
}

}  // namespace

Result<bool> insert_started(sql::Executor& sql, const domain::StartedExecution& execution) {
  const domain::ExecutionIdentity& who = execution.who;
  TRY(std::uint64_t made,
      sql.execute(
          "INSERT INTO extension_execution_log (tenant, id, install_id, extension_id, version_id, "
          "request_id, trace_id, started_at, status, config_version, secrets_version, method, "
          "path, "
          "endpoint, principal_kind, user_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'started', "
          "$9, "
          "$10, $11, $12, $13, $14, $15) ON CONFLICT DO NOTHING",
          {who.tenant, execution.id, who.install, who.extension, who.version, who.request_id,
           who.trace_id, execution.at, execution.config_version, execution.secrets_version,
           execution.method, storable(execution.path), execution.endpoint, execution.principal_kind,
           storable(execution.user_id)}));
  return made > 0;
}

Status update_finished(sql::Executor& sql, const domain::FinishedExecution& execution) {
  TRY_VOID(
      sql.execute("UPDATE extension_execution_log SET finished_at = $1, status = $2, error = "
                  "$3, http_status = $4, duration_us = $5 WHERE tenant = $6 AND id = $7",
                  {execution.at, execution.status, execution.error, execution.http_status,
                   execution.duration_us, execution.tenant, execution.id}));
  return {};
}

Status insert_execution(sql::Executor& sql, const domain::ExecutionRecord& record,
                        UsageTally& usage) {
  TRY(auto row, open_row(sql, record));
  std::string metrics = metrics_of(record);
  std::string author_error = storable(record.author_error);
  std::uint64_t changed = 0;
  if (row) {
    // What the gateway says of status and duration stands: it saw what the caller saw.
    TRY(changed,
        sql.execute(
            "UPDATE extension_execution_log SET record_id = $1, end_class = $2, code = $3, "
            "metrics = $4, author_error = $5 WHERE tenant = $6 AND id = $7 AND record_id = ''",
            {record.id, record.end_class, record.code, metrics, author_error, record.who.tenant,
             *row}));
  } else {
    TRY(changed,
        sql.execute(
            "INSERT INTO extension_execution_log (tenant, id, record_id, install_id, extension_id, "
            "version_id, request_id, trace_id, started_at, finished_at, status, end_class, code, "
            "http_status, config_version, secrets_version, method, path, duration_us, metrics, "
            "author_error) VALUES ($1, $2, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, "
            "$14, "
            "$15, $16, $17, $18, $19, $20) ON CONFLICT DO NOTHING",
            {record.who.tenant,
             record.id,
             record.who.install,
             record.who.extension,
             record.who.version,
             record.who.request_id,
             record.who.trace_id,
             record.started,
             record.finished,
             status_of(record),
             record.end_class,
             record.code,
             record.status,
             record.config_version,
             record.secrets_version,
             record.method,
             storable(record.path),
             std::chrono::microseconds(record.finished - record.started).count(),
             metrics,
             author_error}));
  }
  if (changed > 0) usage.add(record, row.has_value());  // else it was delivered before
  return {};
}

Status insert_guest_log(sql::Executor& sql, const Core& core, const domain::GuestLogLine& line,
                        const DeliveryId& delivery) {
  const domain::ExecutionIdentity& who = line.who;
  TRY_VOID(sql.execute(
      "INSERT INTO extension_guest_log (tenant, id, install_id, extension_id, version_id, "
      "request_id, at, level, stream, message, truncated, delivery_id) VALUES ($1, $2, $3, $4, $5, "
      "$6, $7, $8, $9, $10, $11, $12) ON CONFLICT DO NOTHING",
      {who.tenant, core.new_ordered_id(), who.install, who.extension, who.version, who.request_id,
       line.at, static_cast<std::int64_t>(line.level), line.stream, storable(line.message),
       line.truncated, delivery}));
  return {};
}

Status insert_capability(sql::Executor& sql, const Core& core, const domain::CapabilityEvent& event,
                         const DeliveryId& delivery) {
  boost::json::object details{{"reason", storable(event.reason)},
                              {"extension", event.who.extension},
                              {"version", event.who.version},
                              {"at", format_rfc3339(event.at)}};
  TRY_VOID(
      sql.execute("INSERT INTO extension_audit_log (tenant, id, at, actor, action, target, "
                  "request_id, details, delivery_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, "
                  "$9) ON CONFLICT DO NOTHING",
                  {event.who.tenant, core.new_ordered_id(), core.now(),
                   "extension:" + event.who.install, "guest." + event.kind, storable(event.target),
                   event.who.request_id, to_text(details), delivery}));
  return {};
}

namespace {

/// Tenant, install and extension of a record.
using Origin = std::tuple<std::string, std::string, std::string>;

Origin origin_of(const telemetry::DeliveredRecord& delivered) {
  return std::visit(
      [](const auto& record) {
        return Origin{record.who.tenant, record.who.install, record.who.extension};
      },
      delivered.record);
}

/// Takes those out of `origins` that tenants have installed; one question for many.
Status leave_out_installed(sql::Executor& sql, std::set<Origin>& origins) {
  constexpr std::size_t kAtOnce = 100;
  const std::vector<Origin> asked(origins.begin(), origins.end());
  for (std::size_t begin = 0; begin < asked.size(); begin += kAtOnce) {
    std::string text;
    std::vector<sql::Value> params;
    for (std::size_t i = begin; i < std::min(begin + kAtOnce, asked.size()); ++i) {
      const auto& [tenant, install, extension] = asked[i];
      text += fmt::format("{}(${}, ${}, ${})", text.empty() ? "" : ", ", params.size() + 1,
                          params.size() + 2, params.size() + 3);
      params.insert(params.end(), {tenant, install, extension});
    }
    TRY(const sql::Rows rows,
        sql.query("SELECT tenant, id, extension_id FROM tenant_extension_install WHERE (tenant, "
                  "id, extension_id) IN (VALUES " +
                      text + ")",
                  params));
    for (const sql::Row& row : rows) {
      auto [tenant, install, extension] = row.as<std::string, std::string, std::string>();
      origins.erase({tenant, install, extension});
    }
  }
  return {};
}

/// Whether the tenant had it: records may come when the install has been removed. A caller without
/// a gateway of ours may name no install; then the extension must be the tenant's.
Result<bool> was_there(sql::Executor& sql, const Origin& origin) {
  const auto& [tenant, install, extension] = origin;
  TRY(const auto row,
      install.empty()
          ? sql.find("SELECT 1 FROM tenant_extension_install WHERE tenant = $1 AND extension_id = "
                     "$2",
                     {tenant, extension})
          : sql.find("SELECT 1 FROM extension_execution_log WHERE tenant = $1 AND install_id = $2 "
                     "AND extension_id = $3 LIMIT 1",
                     {tenant, install, extension}));
  return row.has_value();
}

Result<std::set<Origin>> unknown_origins(const Core& core,
                                         const std::vector<telemetry::DeliveredRecord>& records) {
  std::set<Origin> origins;
  for (const auto& record : records) origins.insert(origin_of(record));
  return core.db().read([&](sql::Executor& sql) -> Result<std::set<Origin>> {
    std::set<Origin> unknown = origins;
    TRY_VOID(leave_out_installed(sql, unknown));
    for (auto at = unknown.begin(); at != unknown.end();) {
      TRY(const bool there, was_there(sql, *at));
      at = there ? unknown.erase(at) : std::next(at);
    }
    return unknown;
  });
}

Status leave_out_unknown(const Core& core, std::vector<telemetry::DeliveredRecord>& records) {
  Counter& counter = core.deps().metrics->counter(
      "alga_records_unknown_install_total",
      "Records of runners that name an install which their tenant never had; not stored");
  TRY(const std::set<Origin> unknown, unknown_origins(core, records));
  if (unknown.empty()) return {};
  const std::size_t left_out = std::erase_if(
      records, [&](const auto& record) { return unknown.contains(origin_of(record)); });
  counter.add(static_cast<double>(left_out));
  const auto& [tenant, install, extension] = *unknown.begin();
  core.log().warn("a runner delivered records of installs that nobody has",
                  {{"code", "records.unknown_install"},
                   {"records", left_out},
                   {"tenant", tenant},
                   {"install", install},
                   {"extension", extension}});
  return {};
}

Result<std::vector<telemetry::DeliveredRecord>> decode_lines(std::string_view lines) {
  std::vector<telemetry::DeliveredRecord> records;
  while (!lines.empty()) {
    std::size_t end = std::min(lines.find('\n'), lines.size());
    if (end > 0) {
      TRY(auto record, telemetry::decode_record(lines.substr(0, end)));
      records.push_back(std::move(record));
    }
    lines.remove_prefix(std::min(end + 1, lines.size()));
  }
  return records;
}

/// Executions by their ids, then everything else in the order in which it came.
std::vector<const telemetry::DeliveredRecord*> in_order(
    const std::vector<telemetry::DeliveredRecord>& records) {
  std::vector<const telemetry::DeliveredRecord*> ordered;
  std::vector<const telemetry::DeliveredRecord*> notes;
  for (const auto& delivered : records) {
    const bool note = !std::holds_alternative<domain::ExecutionRecord>(delivered.record);
    (note ? notes : ordered).push_back(&delivered);
  }
  std::ranges::sort(ordered, {}, [](const auto* delivered) -> std::string_view {
    return std::get<domain::ExecutionRecord>(delivered->record).id;
  });
  ordered.insert(ordered.end(), notes.begin(), notes.end());
  return ordered;
}

Status insert(sql::Executor& sql, const Core& core, const telemetry::DeliveredRecord& delivered,
              UsageTally& usage) {
  const auto& [id, record] = delivered;
  if (const auto* execution = std::get_if<domain::ExecutionRecord>(&record)) {
    return insert_execution(sql, *execution, usage);
  }
  if (const auto* line = std::get_if<domain::GuestLogLine>(&record)) {
    return insert_guest_log(sql, core, *line, id);
  }
  return insert_capability(sql, core, std::get<domain::CapabilityEvent>(record), id);
}

}  // namespace

Status store_delivery(const Core& core, std::string_view lines) {
  TRY(std::vector<telemetry::DeliveredRecord> records, decode_lines(lines));
  TRY_VOID(leave_out_unknown(core, records));
  return core.db().write(
      [&](sql::Executor& sql) -> Status {
        UsageTally usage(core.options().quotas.period);
        for (const auto* record : in_order(records)) TRY_VOID(insert(sql, core, *record, usage));
        for (const std::string& tenant : usage.tenants()) {
          TRY_VOID(usage.write_tenant(sql, tenant));
        }
        return usage.write_installs(sql);
      },
      {.isolation = sql::Isolation::read_committed});
}

}  // namespace alga::control_plane
