#include "control_plane/publishers.h"

#include "base/bytes.h"
#include "control_plane/audit.h"
#include "control_plane/lease_holders.h"

namespace alga::control_plane {

Result<boost::json::object> Publishers::create(const Caller& caller, const std::string& name) {
  // The slug is lower(publisher.name): names that differ in case only would share slugs.
  if (!is_identifier(name) || to_lower(name) != name) {
    return invalid("name must be 1 to 128 lower-case letters, digits, dots, dashes, underscores");
  }
  std::string id = core_.new_id();
  WallTime now = core_.now();
  TRY_VOID(core_.db().write([&](sql::Executor& sql) -> Status {
    TRY(std::uint64_t made,
        sql.execute("INSERT INTO publishers (id, name, created_at) VALUES ($1, $2, $3) ON CONFLICT "
                    "DO NOTHING",
                    {id, name, now}));
    if (made == 0) {
      return fail(Kind::conflict, "publisher.exists", "there is such a publisher already");
    }
    return append_audit(sql, core_, caller,
                        {.tenant = std::string(kPlatformTenant),
                         .action = "publisher.created",
                         .target = name,
                         .details = {}});
  }));
  return boost::json::object{{"id", id}, {"name", name}, {"created_at", format_rfc3339(now)}};
}

Result<std::vector<boost::json::object>> Publishers::list() const {
  TRY(sql::Rows rows, core_.db().read([](sql::Executor& sql) {
    return sql.query("SELECT id, name, created_at FROM publishers ORDER BY name");
  }));
  std::vector<boost::json::object> publishers;
  for (const sql::Row& row : rows) {
    auto [id, name, created] = row.as<std::string, std::string, WallTime>();
    publishers.push_back({{"id", id}, {"name", name}, {"created_at", format_rfc3339(created)}});
  }
  return publishers;
}

Result<std::string> Publishers::owned_id(sql::Executor& sql, const Caller& caller,
                                         const std::string& publisher) const {
  // A publisher learns nothing about other publishers, not even that they exist.
  bool own = caller.principal.publisher == publisher;
  TRY(auto row, sql.find("SELECT id FROM publishers WHERE name = $1", {publisher}));
  if (!row || (!own && !caller.principal.is_operator())) {
    return fail(Kind::not_found, "publisher.not_found", "there is no such publisher");
  }
  return row->at<std::string>(0);
}

Result<std::string> Publishers::add_key(const Caller& caller, const std::string& publisher,
                                        const std::string& public_key) {
  auto key = crypto::PublicKey::from_base64(public_key);
  if (!key) {
    return fail(Kind::invalid, "publisher.bad_key",
                "public_key must be the base64 of a 32-byte Ed25519 public key");
  }
  std::string key_id = key->id();
  TRY_VOID(core_.db().write([&](sql::Executor& sql) -> Status {
    TRY(std::string id, owned_id(sql, caller, publisher));
    TRY(std::uint64_t made,
        sql.execute("INSERT INTO publisher_keys (publisher_id, key_id, public_key, created_at) "
                    "VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
                    {id, key_id, sql::Blob{std::string(as_text(key->bytes()))}, core_.now()}));
    if (made == 0) {
      // A revoked key stays revoked: its name cannot come back to life.
      return fail(Kind::conflict, "publisher.key_exists", "this key was registered before");
    }
    return append_audit(sql, core_, caller,
                        {.tenant = std::string(kPlatformTenant),
                         .action = "publisher.key_added",
                         .target = publisher,
                         .details = {{"key_id", key_id}}});
  }));
  return key_id;
}

Result<std::vector<boost::json::object>> Publishers::keys(const Caller& caller,
                                                          const std::string& publisher) const {
  return core_.db().read([&](sql::Executor& sql) -> Result<std::vector<boost::json::object>> {
    TRY(std::string id, owned_id(sql, caller, publisher));
    TRY(sql::Rows rows, sql.query("SELECT key_id, public_key, created_at, revoked_at FROM "
                                  "publisher_keys WHERE publisher_id = $1 ORDER BY created_at, "
                                  "key_id",
                                  {id}));
    std::vector<boost::json::object> keys;
    for (const sql::Row& row : rows) {
      auto [key_id, bytes, created, revoked] =
          row.as<std::string, sql::Blob, WallTime, std::optional<WallTime>>();
      boost::json::object key{{"key_id", key_id},
                              {"public_key", base64_encode(as_bytes(bytes.bytes))},
                              {"created_at", format_rfc3339(created)}};
      key["revoked_at"] = revoked ? boost::json::value(format_rfc3339(*revoked)) : nullptr;
      keys.push_back(std::move(key));
    }
    return keys;
  });
}

Status Publishers::revoke_key(const Caller& caller, const std::string& publisher,
                              const std::string& key_id) {
  return core_.db().write([&](sql::Executor& sql) -> Status {
    TRY(std::string id, owned_id(sql, caller, publisher));
    TRY(std::uint64_t changed,
        sql.execute(
            "UPDATE publisher_keys SET revoked_at = $1 WHERE publisher_id = $2 AND key_id = "
            "$3 AND revoked_at IS NULL",
            {core_.now(), id, key_id}));
    if (changed == 0) {
      return fail(Kind::not_found, "publisher.key_not_found", "the publisher has no such key");
    }
    // Gateways everywhere must ask again about what this key has signed.
    TRY_VOID(sql.execute(
        "UPDATE tenant_extension_install SET generation = generation + 1 WHERE version_id IN "
        "(SELECT "
        "b.version_id FROM extension_bundle b JOIN extension_version v ON v.id = b.version_id JOIN "
        "extension_registry e ON e.id = v.extension_id WHERE b.signature_key_id = $1 AND "
        "e.publisher_id = $2)",
        {key_id, id}));
    TRY_VOID(mark_change(sql));
    return append_audit(sql, core_, caller,
                        {.tenant = std::string(kPlatformTenant),
                         .action = "publisher.key_revoked",
                         .target = publisher,
                         .details = {{"key_id", key_id}}});
  });
}

Result<std::optional<crypto::PublicKey>> trusted_key(sql::Executor& sql,
                                                     const std::string& publisher_id,
                                                     const std::string& key_id) {
  TRY(auto row,
      sql.find("SELECT public_key FROM publisher_keys WHERE publisher_id = $1 AND key_id = "
               "$2 AND revoked_at IS NULL",
               {publisher_id, key_id}));
  if (!row) return std::optional<crypto::PublicKey>{};
  return crypto::PublicKey::from_bytes(as_bytes(row->at<sql::Blob>(0).bytes));
}

}  // namespace alga::control_plane
