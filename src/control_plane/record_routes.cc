#include <algorithm>

#include "base/ids.h"
#include "control_plane/cell.h"
#include "control_plane/log_query.h"
#include "control_plane/services.h"

namespace alga::control_plane {
namespace {

/// The id of an install that the caller named by id or slug, or none when it named none.
Result<std::optional<std::string>> named_install(Services& services, const Call& call,
                                                 const TenantId& tenant) {
  auto ref = call.request.query_param("install");
  if (!ref || ref->empty()) return std::optional<std::string>{};
  auto install = services.installs.get(tenant, *ref);
  if (install) return std::optional{install->id};
  // Lines outlive their install: a whole id still selects them, and only those of the tenant.
  if (install.error().code == "install.not_found" && InstallId::parse(*ref)) {
    return std::optional{*ref};
  }
  return fail(std::move(install).error());
}

/// A query parameter that must be one of a few words; empty when it is not there.
Result<std::string> chosen(const Call& call, const char* name,
                           std::initializer_list<std::string_view> words) {
  std::string word = call.request.query_param(name).value_or("");
  if (word.empty() || std::ranges::find(words, word) != words.end()) return word;
  return invalid(std::string(name) + " is none of the known ones");
}

Result<LogLevel> least_level(const Call& call) {
  std::string text = call.request.query_param("level").value_or("debug");
  if (text == "debug") return LogLevel::debug;
  if (text == "info") return LogLevel::info;
  if (text == "warn") return LogLevel::warn;
  if (text == "error") return LogLevel::error;
  return invalid("level must be debug, info, warn or error");
}

/// What a request showed of its caller, and nothing else of it.
std::shared_ptr<const httpd::Request> credentials_of(const httpd::Request& request) {
  auto shown = std::make_shared<httpd::Request>();
  for (const char* name : {"authorization", "x-api-key"}) {
    if (auto value = request.header(name)) shown->headers.push_back({name, std::string(*value)});
  }
  return shown;
}

/// Signs the caller in again: revoked, expired or demoted, it may read no more.
async::Task<Status> sign_in_again(Services* services, std::shared_ptr<const httpd::Request> shown,
                                  Access access, std::shared_ptr<const domain::Principal> was) {
  auto principal = co_await authenticate(&services->core, &services->api_keys, shown.get());
  if (!principal) co_return fail(std::move(principal).error());
  CO_TRY_VOID(authorise(*principal, access));
  if (principal->tenant == was->tenant) co_return Status{};
  co_return fail(Kind::denied, "auth.forbidden", "the caller belongs to another tenant now");
}

Result<httpd::Response> logs(Services& services, const Call& call) {
  TRY(TenantId tenant, call.tenant());
  LogQuery query{.tenant = tenant};
  TRY(query.install, named_install(services, call, tenant));
  query.request = call.request.query_param("request");
  TRY(query.least, least_level(call));
  TRY(query.stream, chosen(call, "stream", {"log", "stdout", "stderr"}));
  TRY(query.limit, call.limit(100, 1'000));
  // A line's id, so that a client that was cut off misses nothing.
  if (auto last = call.request.header("last-event-id"); last && is_identifier(*last)) {
    query.after = std::string(*last);
  }
  std::string follow = call.request.query_param("follow").value_or("");
  if (follow != "1" && follow != "true") {
    TRY(LogPage page, read_logs(services.core, query));
    return json_answer(200, boost::json::object{{"lines", std::move(page.lines)}});
  }
  TRY(auto place, services.log_followers.take(tenant));
  httpd::Response response;
  response.set("content-type", "text/event-stream; charset=utf-8");
  response.set("cache-control", "no-store");
  response.set("x-accel-buffering", "no");
  response.stream = follow_logs(
      services.core, std::move(query),
      [services = &services, shown = credentials_of(call.request),
       was = std::make_shared<const domain::Principal>(call.caller.principal)] {
        return sign_in_again(services, shown, Access::tenant_admins, was);
      },
      std::move(place));
  return response;
}

/// The id of an execution of the tenant, as the end of a page.
Result<std::string> known_execution(Services& services, const TenantId& tenant,
                                    const std::string& id) {
  if (is_identifier(id)) {
    TRY(auto rows, read_executions(services.core, {.tenant = tenant, .id = id}));
    if (!rows.empty()) return id;
  }
  return invalid("before must be an RFC 3339 date-time or the id of an execution");
}

Result<httpd::Response> executions(Services& services, const Call& call) {
  TRY(TenantId tenant, call.tenant());
  ExecutionQuery query{.tenant = tenant};
  TRY(auto install, named_install(services, call, tenant));
  query.install = install.value_or("");
  query.request = call.request.query_param("request").value_or("");
  TRY(query.status,
      chosen(call, "status", {"started", "ok", "upstream_error", "error", "timeout"}));
  if (auto before = call.request.query_param("before")) {
    query.before = parse_rfc3339(*before);
    if (!query.before) {
      TRY(query.older_than, known_execution(services, tenant, *before));
    }
  }
  TRY(query.limit, call.limit(50, 1'000));
  TRY(auto rows, read_executions(services.core, query));
  return json_answer(200, boost::json::object{{"executions", std::move(rows)}});
}

Result<httpd::Response> execution(Services& services, const Call& call) {
  TRY(TenantId tenant, call.tenant());
  TRY(auto rows, read_executions(services.core, {.tenant = tenant, .id = call.param("id")}));
  if (rows.empty()) {
    return fail(Kind::not_found, "execution.not_found", "there is no such execution");
  }
  return json_answer(200, boost::json::object{{"execution", std::move(rows.front())}});
}

/// An operator who names no tenant reads the platform's own trail.
Result<httpd::Response> audit(Services& services, const Call& call) {
  TRY(std::uint32_t limit, call.limit(100, 1'000));
  std::string trail(kPlatformTenant);
  if (!call.caller.principal.is_operator() || call.request.header("x-tenant-id")) {
    TRY(TenantId tenant, call.tenant());
    trail = tenant.str();
  }
  const std::string before = call.request.query_param("before").value_or("");
  if (!before.empty() && !is_identifier(before))
    return invalid("before must be the id of an event");
  TRY(auto events, list_audit(services.core, trail, limit, before));
  boost::json::array array;
  for (auto& event : events) array.push_back(std::move(event));
  return json_answer(200, boost::json::object{{"events", std::move(array)}});
}

/// One at a time: it reads the whole trail and takes a thread of those that serve everybody.
constexpr std::chrono::seconds kLongestVerification{30};

Result<httpd::Response> verify(Services& services, const Call& call) {
  const std::unique_lock turn(services.verifying_audit, std::try_to_lock);
  if (!turn) {
    return fail(Error{Kind::rate_limited, "audit.verification_busy",
                      "another audit trail is being verified", 5});
  }
  const domain::Principal& principal = call.caller.principal;
  std::string tenant;  // empty: every trail
  if (!principal.is_operator()) {
    ALGA_CHECK(principal.tenant.has_value());
    tenant = principal.tenant->str();
  }
  AuditCheck check{.deadline = sql::within(kLongestVerification)};
  TRY(check.expected, parse_audit_heads(call.request.query_param("expect").value_or("")));
  const bool others = std::ranges::any_of(check.expected, [&](const AuditHead& head) {
    return !tenant.empty() && head.tenant != tenant;
  });
  if (others) {
    return fail(Kind::denied, "auth.forbidden", "the caller belongs to another tenant");
  }
  TRY(AuditVerification report, verify_audit(services.core.db(), tenant, check));
  boost::json::array heads;
  for (const AuditHead& head : report.heads) {
    heads.push_back(
        boost::json::object{{"tenant", head.tenant}, {"batch", head.batch}, {"chain", head.chain}});
  }
  return json_answer(200, boost::json::object{{"intact", report.faults.empty()},
                                              {"batches", report.batches},
                                              {"events", report.events},
                                              {"unsealed", report.unsealed},
                                              {"heads", std::move(heads)},
                                              {"faults", array_of(report.faults)}});
}

Result<httpd::Response> usage(Services& services, const Call& call) {
  TRY(TenantId tenant, call.tenant());
  TRY(InstallRow install, services.installs.get(tenant, call.param("id")));
  TRY(InstallId install_id, parsed_cell<InstallId>(install.id, "id"));
  TRY(StorageUsage storage, services.storage_records.usage({tenant, std::move(install_id)}));
  TRY(auto row, services.core.db().read([&](sql::Executor& sql) {
    return sql.find(
        "SELECT CAST(coalesce(sum(invocations), 0) AS BIGINT), "
        "CAST(coalesce(sum(cpu_us), 0) AS BIGINT), CAST(coalesce(sum(memory_mb_ms), 0) "
        "AS BIGINT), CAST(coalesce(sum(egress_bytes), 0) AS BIGINT) FROM "
        "extension_quota_usage WHERE tenant = $1 AND install_id = $2",
        {tenant, install.id});
  }));
  ALGA_CHECK(row.has_value());  // a sum is one row
  auto [invocations, cpu_us, memory, egress] =
      row->as<std::uint64_t, std::uint64_t, std::uint64_t, std::uint64_t>();
  const StorageLimits& limits = services.storage_records.limits();
  boost::json::object storage_json{{"namespaces", storage.namespaces},
                                   {"namespaces_limit", limits.namespaces},
                                   {"keys", storage.keys},
                                   {"keys_per_namespace_limit", limits.keys_per_namespace},
                                   {"bytes", storage.bytes},
                                   {"bytes_limit", limits.bytes}};
  return json_answer(
      200, boost::json::object{{"usage", boost::json::object{{"invocations", invocations},
                                                             {"cpu_us", cpu_us},
                                                             {"memory_mb_ms", memory},
                                                             {"egress_bytes", egress},
                                                             {"storage", storage_json}}}});
}

}  // namespace

void add_record_routes(Api& api, Services& services) {
  constexpr auto kAdmins = Access::tenant_admins;
  api.add("GET", "/api/logs", kAdmins,
          [&services](const Call& call) { return logs(services, call); });
  api.add("GET", "/api/v1/executions", kAdmins,
          [&services](const Call& call) { return executions(services, call); });
  api.add("GET", "/api/v1/executions/{id}", kAdmins,
          [&services](const Call& call) { return execution(services, call); });
  api.add("GET", "/api/v1/audit", kAdmins,
          [&services](const Call& call) { return audit(services, call); });
  api.add("GET", "/api/v1/audit/verify", kAdmins,
          [&services](const Call& call) { return verify(services, call); });
  api.add("GET", "/api/v1/installs/{id}/usage", kAdmins,
          [&services](const Call& call) { return usage(services, call); });
}

}  // namespace alga::control_plane
