#include "control_plane/storage_schemas.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/bytes.h"
#include "control_plane/audit.h"
#include "json/schema.h"

namespace alga::control_plane {
namespace {

constexpr std::string_view kColumns =
    "SELECT schema_version, schema_document, status, created_by, created_at FROM "
    "ext_storage_schemas WHERE tenant = $1 AND install_id = $2 AND namespace = $3 ";

NamespaceSchema read_schema(const sql::Row& row) {
  NamespaceSchema schema;
  std::tie(schema.version, schema.document, schema.status, schema.created_by, schema.created) =
      row.as<std::int64_t, std::string, std::string, std::string, WallTime>();
  return schema;
}

Result<std::vector<NamespaceSchema>> read_all(sql::Executor& sql, const domain::StorageScope& scope,
                                              const std::string& ns) {
  TRY(sql::Rows rows, sql.query(std::string(kColumns) + "ORDER BY schema_version DESC",
                                {scope.tenant, scope.install, ns}));
  std::vector<NamespaceSchema> schemas;
  for (const sql::Row& row : rows) schemas.push_back(read_schema(row));
  return schemas;
}

std::unexpected<Error> no_schema() {
  return fail(Kind::not_found, "storage.no_schema", "the namespace has no such schema");
}

std::unexpected<Error> violation(std::string message) {
  return fail(Kind::invalid, "storage.schema_violation", std::move(message));
}

Result<json::Schema> parse_schema(const std::string& document) {
  auto schema = json::Schema::parse(document);
  if (schema) return schema;
  return fail(Kind::invalid, "storage.bad_schema", schema.error().message);
}

AuditEvent event_of(const domain::StorageScope& scope, const std::string& ns, std::int64_t version,
                    std::string action) {
  return {.tenant = scope.tenant.str(),
          .action = std::move(action),
          .target = scope.install.str(),
          .details = {{"namespace", ns}, {"version", version}}};
}

/// A value of a guest is bytes; under a schema they are the text of a JSON value.
Status check_value(const json::Schema& schema, const StorageWrite& write) {
  const auto value = json::parse(write.value);
  if (!value) return violation("the namespace has a schema, and the value is not JSON");
  const Status checked = schema.check(*value);
  if (checked) return {};
  return violation(checked.error().message);
}

/// The schema that a write is held against; null: none.
const NamespaceSchema* schema_for(const std::vector<NamespaceSchema>& all,
                                  const StorageWrite& write) {
  const auto found = std::ranges::find_if(all, [&](const NamespaceSchema& schema) {
    return write.schema_version ? schema.version == *write.schema_version
                                : schema.status == "active";
  });
  return found == all.end() ? nullptr : &*found;
}

}  // namespace

Result<boost::json::object> to_json(const NamespaceSchema& schema) {
  TRY(boost::json::value document, from_column(schema.document, "schema_document"));
  return boost::json::object{{"version", schema.version},
                             {"status", schema.status},
                             {"schema", std::move(document)},
                             {"created_by", schema.created_by},
                             {"created_at", format_rfc3339(schema.created)}};
}

Result<std::optional<std::int64_t>> active_schema(sql::Executor& sql,
                                                  const domain::StorageScope& scope,
                                                  const std::string& ns) {
  TRY(auto row, sql.find("SELECT schema_version FROM ext_storage_schemas WHERE tenant = $1 AND "
                         "install_id = $2 AND namespace = $3 AND status = 'active'",
                         {scope.tenant, scope.install, ns}));
  if (!row) return std::optional<std::int64_t>{};
  return std::optional{row->at<std::int64_t>(0)};
}

Result<std::optional<std::int64_t>> check_schemas(const Core& core,
                                                  const domain::StorageScope& scope,
                                                  std::span<const StorageWrite> writes) {
  std::optional<std::int64_t> active;
  if (writes.empty()) return active;
  TRY(auto all,
      core.db().read([&](sql::Executor& sql) { return read_all(sql, scope, writes.front().ns); }));
  if (all.empty()) return active;
  std::map<std::int64_t, json::Schema> parsed;
  for (const StorageWrite& write : writes) {
    const NamespaceSchema* schema = schema_for(all, write);
    if (schema == nullptr && write.schema_version) {
      return violation("the namespace has no schema of that version");
    }
    if (schema == nullptr) continue;
    if (schema->status == "draft") return violation("a draft is no schema to write by");
    if (!parsed.contains(schema->version)) {
      Result<json::Schema> one = parse_schema(schema->document);
      // It was a schema when it was stored.
      if (!one) return malformed_column("schema_document");
      parsed.emplace(schema->version, std::move(*one));
    }
    TRY_VOID(check_value(parsed.at(schema->version), write));
  }
  const auto found = std::ranges::find(all, "active", &NamespaceSchema::status);
  if (found != all.end()) active = found->version;
  return active;
}

Result<NamespaceSchema> StorageSchemas::put(const Caller& caller, const domain::StorageScope& scope,
                                            const std::string& ns, std::int64_t version,
                                            const std::optional<std::string>& document,
                                            const std::string& status) {
  if (document) {
    TRY_VOID(parse_schema(*document));
  }
  const auto body = [&](sql::Executor& sql) -> Result<NamespaceSchema> {
    TRY_VOID(take_turn(sql, scope));
    TRY(auto all, read_all(sql, scope, ns));
    const auto known = std::ranges::find(all, version, &NamespaceSchema::version);
    if (known == all.end() && !document) return no_schema();
    if (known != all.end() && document && *document != known->document) {
      return fail(Kind::conflict, "storage.schema_exists",
                  "this version has another document; documents never change");
    }
    if (known == all.end() && all.size() >= most_versions) {
      return fail(Kind::invalid, "storage.bad_schema",
                  fmt::format("a namespace has at most {} schemas", most_versions));
    }
    if (status == "active") {
      TRY_VOID(
          sql.execute("UPDATE ext_storage_schemas SET status = 'deprecated' WHERE tenant = $1 "
                      "AND install_id = $2 AND namespace = $3 AND status = 'active'",
                      {scope.tenant, scope.install, ns}));
    }
    NamespaceSchema schema = known == all.end() ? NamespaceSchema{.version = version,
                                                                  .document = *document,
                                                                  .created_by = caller.principal.id,
                                                                  .created = core_.now()}
                                                : *known;
    schema.status = status;
    TRY_VOID(sql.execute(
        "INSERT INTO ext_storage_schemas (tenant, install_id, namespace, schema_version, "
        "schema_document, status, created_by, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) "
        "ON CONFLICT (tenant, install_id, namespace, schema_version) DO UPDATE SET status = "
        "excluded.status",
        {scope.tenant, scope.install, ns, version, schema.document, schema.status,
         schema.created_by, schema.created}));
    TRY_VOID(append_audit(sql, core_, caller, event_of(scope, ns, version, "storage.schema_set")));
    return schema;
  };
  auto stored = core_.db().write(body, {.isolation = sql::Isolation::read_committed});
  if (!stored && stored.error().code == "sql.foreign_key_violation") {
    return fail(Kind::denied, "storage.denied", "there is no such install");
  }
  return stored;
}

Result<std::vector<NamespaceSchema>> StorageSchemas::list(const domain::StorageScope& scope,
                                                          const std::string& ns) const {
  return core_.db().read([&](sql::Executor& sql) { return read_all(sql, scope, ns); });
}

Status StorageSchemas::remove(const Caller& caller, const domain::StorageScope& scope,
                              const std::string& ns, std::int64_t version) {
  const auto body = [&](sql::Executor& sql) -> Status {
    TRY_VOID(take_turn(sql, scope));
    TRY(std::uint64_t removed,
        sql.execute("DELETE FROM ext_storage_schemas WHERE tenant = $1 AND install_id = $2 AND "
                    "namespace = $3 AND schema_version = $4",
                    {scope.tenant, scope.install, ns, version}));
    if (removed == 0) return no_schema();
    return append_audit(sql, core_, caller, event_of(scope, ns, version, "storage.schema_removed"));
  };
  return core_.db().write(body, {.isolation = sql::Isolation::read_committed});
}

}  // namespace alga::control_plane
