#include "control_plane/data_keys.h"
#include "control_plane/operations.h"
#include "control_plane/signing_keys.h"

namespace alga::control_plane {
namespace {

/// Wraps one key again. The row is only changed when it is still as it was read, so that two
/// rotations at once do each other no harm.
Result<bool> rewrap(sql::Database& database, domain::KeyProvider& keys,
                    const domain::WrappedKey& old, const std::string& context,
                    std::string_view update, std::vector<sql::Value> identity) {
  TRY(auto plain, keys.unwrap(old, context));
  TRY(domain::WrappedKey fresh, keys.wrap(plain.reveal(), context));
  std::vector<sql::Value> params{fresh.key_id, sql::Blob{fresh.bytes}, old.key_id};
  for (sql::Value& value : identity) params.push_back(std::move(value));
  TRY(std::uint64_t changed,
      database.write([&](sql::Executor& sql) { return sql.execute(update, params); }));
  return changed == 1;
}

Result<std::uint64_t> rewrap_data_keys(sql::Database& database, domain::KeyProvider& keys,
                                       const std::string& current) {
  TRY(sql::Rows rows, database.read([&](sql::Executor& sql) {
    return sql.query(
        "SELECT tenant, key_version, wrapping_key_id, wrapped_key FROM tenant_data_keys "
        "WHERE wrapping_key_id <> $1",
        {current});
  }));
  std::uint64_t done = 0;
  for (const sql::Row& row : rows) {
    auto [tenant, version, key_id, bytes] =
        row.as<std::string, std::uint32_t, std::string, sql::Blob>();
    TRY(bool changed,
        rewrap(database, keys, {key_id, bytes.bytes}, data_key_context(tenant, version),
               "UPDATE tenant_data_keys SET wrapping_key_id = $1, wrapped_key = $2 WHERE "
               "wrapping_key_id = $3 AND tenant = $4 AND key_version = $5",
               {tenant, version}));
    done += changed ? 1 : 0;
  }
  return done;
}

Result<std::uint64_t> rewrap_signing_keys(sql::Database& database, domain::KeyProvider& keys,
                                          const std::string& current) {
  TRY(sql::Rows rows, database.read([&](sql::Executor& sql) {
    return sql.query(
        "SELECT purpose, kid, wrapping_key_id, wrapped_seed FROM signing_keys WHERE "
        "wrapping_key_id <> $1",
        {current});
  }));
  std::uint64_t done = 0;
  for (const sql::Row& row : rows) {
    auto [purpose, kid, key_id, bytes] = row.as<std::string, std::string, std::string, sql::Blob>();
    TRY(bool changed,
        rewrap(database, keys, {key_id, bytes.bytes}, signing_key_context(purpose, kid),
               "UPDATE signing_keys SET wrapping_key_id = $1, wrapped_seed = $2 WHERE "
               "wrapping_key_id = $3 AND purpose = $4 AND kid = $5",
               {purpose, kid}));
    done += changed ? 1 : 0;
  }
  return done;
}

}  // namespace

Result<KeyRotation> rotate_keys(sql::Database& database, domain::KeyProvider& keys) {
  KeyRotation rotation;
  TRY(rotation.new_key_id, keys.rotate());
  TRY(std::uint64_t data, rewrap_data_keys(database, keys, rotation.new_key_id));
  TRY(std::uint64_t signing, rewrap_signing_keys(database, keys, rotation.new_key_id));
  rotation.rewrapped = data + signing;
  return rotation;
}

}  // namespace alga::control_plane
