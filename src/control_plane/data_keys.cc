#include "control_plane/data_keys.h"

#include <fmt/format.h>

namespace alga::control_plane {
namespace {

constexpr std::size_t kKeysInMemory = 256;

}  // namespace

std::string data_key_context(std::string_view tenant, std::uint32_t version) {
  return fmt::format("alga-data-key:v1\n{}\n{}", tenant, version);
}

Result<DataKeys::Key> DataKeys::current(const TenantId& tenant) {
  auto newest = [&] {
    return core_.db().read([&](sql::Executor& sql) {
      return sql.find("SELECT max(key_version) FROM tenant_data_keys WHERE tenant = $1", {tenant});
    });
  };
  TRY(auto row, newest());
  if (!row->at<std::optional<std::uint32_t>>(0)) {
    TRY_VOID(make_first(tenant));
    TRY(row, newest());
  }
  auto version = row->at<std::optional<std::uint32_t>>(0);
  ALGA_CHECK(version.has_value());
  return of_version(tenant, *version);
}

Status DataKeys::make_first(const TenantId& tenant) {
  constexpr std::uint32_t kFirst = 1;
  crypto::AeadKey key = crypto::AeadKey::generate();
  TRY(domain::WrappedKey wrapped,
      core_.deps().keys->wrap(key.reveal(), data_key_context(tenant.str(), kFirst)));
  // Of several that make the first key at once one wins; the others read the winner's.
  TRY_VOID(core_.db().write([&](sql::Executor& sql) {
    return sql.execute(
        "INSERT INTO tenant_data_keys (tenant, key_version, wrapping_key_id, "
        "wrapped_key, created_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
        {tenant, kFirst, wrapped.key_id, sql::Blob{wrapped.bytes}, core_.now()});
  }));
  return {};
}

Result<DataKeys::Key> DataKeys::of_version(const TenantId& tenant, std::uint32_t version) {
  Name name{tenant.str(), version};
  if (auto known = cached(name)) return Key{version, known};
  TRY(auto row, core_.db().read([&](sql::Executor& sql) {
    return sql.find(
        "SELECT wrapping_key_id, wrapped_key FROM tenant_data_keys WHERE tenant = $1 AND "
        "key_version = $2",
        {tenant, version});
  }));
  if (!row) {
    return fail(Kind::internal, "secrets.key_missing", "the tenant's data key is not there");
  }
  auto [key_id, bytes] = row->as<std::string, sql::Blob>();
  TRY(auto unwrapped,
      core_.deps().keys->unwrap({key_id, bytes.bytes}, data_key_context(tenant.str(), version)));
  TRY(auto key, crypto::AeadKey::from_bytes(unwrapped.reveal()));
  auto shared = std::make_shared<const crypto::AeadKey>(std::move(key));
  remember(name, shared);
  return Key{version, std::move(shared)};
}

std::shared_ptr<const crypto::AeadKey> DataKeys::cached(const Name& name) {
  std::lock_guard lock(mutex_);
  auto found = keys_.find(name);
  return found == keys_.end() ? nullptr : found->second;
}

void DataKeys::remember(const Name& name, std::shared_ptr<const crypto::AeadKey> key) {
  std::lock_guard lock(mutex_);
  if (!keys_.emplace(name, std::move(key)).second) return;
  oldest_first_.push_back(name);
  if (keys_.size() <= kKeysInMemory) return;
  keys_.erase(oldest_first_.front());
  oldest_first_.pop_front();
}

}  // namespace alga::control_plane
