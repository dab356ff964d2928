#include "control_plane/registry.h"

#include <fmt/format.h>

#include "base/bytes.h"
#include "control_plane/audit.h"
#include "control_plane/publishers.h"
#include "control_plane/publishing.h"

namespace alga::control_plane {
namespace {

std::unexpected<Error> extension_not_found() {
  return fail(Kind::not_found, "extension.not_found", "there is no such extension");
}

constexpr std::string_view kVersionColumns =
    "SELECT v.id, v.extension_id, e.publisher_id, e.slug, v.version, b.content_hash, "
    "v.capabilities, v.egress, v.endpoints_declared, v.client_portal, b.signature_key_id, "
    "b.signature "
    "FROM extension_version v JOIN extension_registry e ON e.id = v.extension_id "
    "JOIN extension_bundle b ON b.version_id = v.id ";

Result<PublishedVersion> read_version(const sql::Row& row) {
  PublishedVersion version;
  std::string capabilities;
  std::string egress;
  std::optional<sql::Blob> signature;
  std::tie(version.id, version.extension_id, version.publisher_id, version.slug, version.version,
           version.content_hash, capabilities, egress, version.endpoints_declared,
           version.client_portal, version.signature_key_id, signature) =
      row.as<std::string, std::string, std::string, std::string, std::string, std::string,
             std::string, std::string, bool, bool, std::optional<std::string>,
             std::optional<sql::Blob>>();
  if (signature) version.signature = std::move(signature->bytes);
  TRY(const auto names, strings_from_column(capabilities, "capabilities"));
  for (const std::string& name : names) {
    // A name that this program no longer knows grants nothing.
    if (auto capability = domain::parse_capability(name)) version.requested.insert(*capability);
  }
  TRY(version.egress, strings_from_column(egress, "egress"));
  return version;
}

}  // namespace

Result<std::vector<boost::json::object>> Registry::list(const Caller& caller) const {
  return select(caller, std::nullopt);
}

Result<boost::json::object> Registry::get(const Caller& caller, const std::string& ref) const {
  TRY(auto found, select(caller, ref));
  if (found.empty()) return extension_not_found();
  return std::move(found.front());
}

Result<std::vector<boost::json::object>> Registry::select(
    const Caller& caller, const std::optional<std::string>& ref) const {
  const auto& own = caller.principal.tenant;
  std::string tenant = own ? own->str() : "";
  // A pilot is seen by its tenants, its publisher and operators.
  std::string publishes_as = caller.principal.publisher.value_or("");
  int everything = caller.principal.is_operator() ? 1 : 0;
  TRY(sql::Rows rows, core_.db().read([&](sql::Executor& sql) {
    return sql.query(
        "SELECT e.id, e.slug, p.name, e.name, e.display_name, e.description, e.restricted, v.id, "
        "v.version, b.content_hash, v.created_at, v.capabilities, v.egress FROM extension_registry "
        "e "
        "JOIN publishers p ON p.id = e.publisher_id JOIN extension_version v ON v.extension_id = "
        "e.id JOIN extension_bundle b ON b.version_id = v.id WHERE ($1 = '' OR e.id = $1 OR e.slug "
        "= $2) AND (e.restricted = 0 OR $4 = 1 OR p.name = $5 OR EXISTS (SELECT 1 FROM "
        "extension_pilot_tenant t WHERE t.tenant = $3 AND t.extension_id = e.id)) ORDER BY e.slug, "
        "v.major DESC, v.minor "
        "DESC, v.patch DESC, v.created_at DESC",
        {ref.value_or(""), to_lower(ref.value_or("")), tenant, everything, publishes_as});
  }));
  std::vector<boost::json::object> extensions;
  auto text = [](const std::optional<std::string>& value) {
    return value ? boost::json::value(*value) : boost::json::value(nullptr);
  };
  for (const sql::Row& row : rows) {
    auto [id, slug, publisher, name, display, description, restricted, version_id, version, hash,
          created, capabilities, egress] =
        row.as<std::string, std::string, std::string, std::string, std::optional<std::string>,
               std::optional<std::string>, bool, std::string, std::string, std::string, WallTime,
               std::string, std::string>();
    if (extensions.empty() || extensions.back()["id"].as_string() != id) {
      extensions.push_back({{"id", id},
                            {"slug", slug},
                            {"publisher", publisher},
                            {"name", name},
                            {"display_name", text(display)},
                            {"description", text(description)},
                            {"restricted", restricted},
                            {"versions", boost::json::array{}}});
    }
    TRY(boost::json::value wants, from_column(capabilities, "capabilities"));
    TRY(boost::json::value rules, from_column(egress, "egress"));
    extensions.back()["versions"].as_array().push_back(
        boost::json::object{{"id", version_id},
                            {"version", version},
                            {"content_hash", hash},
                            {"capabilities", std::move(wants)},
                            {"egress", std::move(rules)},
                            {"created_at", format_rfc3339(created)}});
  }
  return extensions;
}

Result<std::string> Registry::source_map(const Caller& caller, const std::string& ref,
                                         const std::string& version) const {
  std::string publisher = caller.principal.publisher.value_or("");
  TRY(auto row, core_.db().read([&](sql::Executor& sql) {
    return sql.find(
        "SELECT m.source_map FROM extension_source_map m JOIN extension_version v ON v.id = "
        "m.version_id JOIN extension_registry e ON e.id = v.extension_id JOIN publishers p ON p.id "
        "= "
        "e.publisher_id WHERE (e.id = $1 OR e.slug = $2) AND (v.id = $3 OR v.version = $3) AND ($4 "
        "= "
        "'' OR p.name = $4) ORDER BY CASE WHEN m.path = 'main.js.map' THEN 0 ELSE 1 END, m.path "
        "LIMIT 1",
        {ref, to_lower(ref), version, publisher});
  }));
  if (!row) {
    return fail(Kind::not_found, "extension.source_map_not_found", "there is no source map");
  }
  return row->at<sql::Blob>(0).bytes;
}

Status Registry::restrict_to(const Caller& caller, const std::string& ref,
                             const std::optional<std::vector<std::string>>& tenants) {
  return core_.db().write([&](sql::Executor& sql) -> Status {
    TRY(auto row, sql.find("SELECT id FROM extension_registry WHERE id = $1 OR slug = $2",
                           {ref, to_lower(ref)}));
    if (!row) return extension_not_found();
    auto id = row->at<std::string>(0);
    TRY_VOID(sql.execute("UPDATE extension_registry SET restricted = $1 WHERE id = $2",
                         {tenants.has_value(), id}));
    TRY_VOID(sql.execute("DELETE FROM extension_pilot_tenant WHERE extension_id = $1", {id}));
    boost::json::array names;
    for (const std::string& tenant : tenants.value_or(std::vector<std::string>{})) {
      if (!TenantId::parse(tenant)) return invalid("tenants: not the id of a tenant");
      TRY(auto known, sql.find("SELECT id FROM tenants WHERE id = $1", {tenant}));
      if (!known) return fail(Kind::not_found, "tenant.not_found", "there is no such tenant");
      TRY_VOID(
          sql.execute("INSERT INTO extension_pilot_tenant (tenant, extension_id, created_at) "
                      "VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                      {tenant, id, core_.now()}));
      names.emplace_back(tenant);
    }
    return append_audit(sql, core_, caller,
                        {.tenant = std::string(kPlatformTenant),
                         .action = tenants ? "extension.restricted" : "extension.opened",
                         .target = id,
                         .details = {{"tenants", names}}});
  });
}

Status check_trust(sql::Executor& sql, const PublishPolicy& policy, const PublishedVersion& version,
                   const std::string& content_hash) {
  const auto untrusted = [](std::string why) {
    return fail(Kind::denied, "extension.untrusted", std::move(why));
  };
  if (!version.signature_key_id) {
    if (!policy.require_signatures) return {};
    return untrusted("this version is not signed, and signatures are required");
  }
  TRY(auto key, trusted_key(sql, version.publisher_id, *version.signature_key_id));
  if (!key) return untrusted("the key that signed this version has been revoked");
  if (!key->verify(as_bytes(bundle_signature_text(content_hash)), as_bytes(version.signature))) {
    return untrusted("the signature is not of this bundle");
  }
  return {};
}

Result<PublishedVersion> find_version(sql::Executor& sql, const PublishPolicy& policy,
                                      const TenantId& tenant, const std::string& ref,
                                      const std::string& version) {
  TRY(sql::Rows rows,
      sql.query(std::string(kVersionColumns) +
                    "WHERE (e.id = $1 OR e.slug = $2) AND (e.restricted = 0 OR EXISTS (SELECT 1 "
                    "FROM extension_pilot_tenant t WHERE t.tenant = $3 AND t.extension_id = e.id)) "
                    "ORDER BY CASE WHEN v.prerelease = '' THEN 0 ELSE 1 END, v.major DESC, v.minor "
                    "DESC, v.patch DESC, v.created_at DESC",
                {ref, to_lower(ref), tenant}));
  if (rows.empty()) return extension_not_found();
  for (const sql::Row& row : rows) {
    if (!version.empty() && row.at<std::string>(4) != version) continue;
    TRY(PublishedVersion found, read_version(row));
    TRY_VOID(check_trust(sql, policy, found, found.content_hash));
    return found;
  }
  return fail(Kind::not_found, "extension.version_not_found", "the extension has no such version");
}

Result<PublishedVersion> load_version(sql::Executor& sql, const std::string& id) {
  TRY(auto row, sql.find(std::string(kVersionColumns) + "WHERE v.id = $1", {id}));
  if (!row) return extension_not_found();
  return read_version(*row);
}

Result<std::vector<domain::Endpoint>> load_endpoints(sql::Executor& sql,
                                                     const std::string& version_id) {
  TRY(sql::Rows rows,
      sql.query("SELECT method, path FROM extension_api_endpoint WHERE version_id = "
                "$1 ORDER BY position",
                {version_id}));
  std::vector<domain::Endpoint> endpoints;
  for (const sql::Row& row : rows) {
    auto [method, path] = row.as<std::string, std::string>();
    endpoints.push_back({method, path});
  }
  return endpoints;
}

}  // namespace alga::control_plane
