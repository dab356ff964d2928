#include "control_plane/api_keys.h"

#include <fmt/format.h>

#include "base/bytes.h"
#include "control_plane/audit.h"
#include "control_plane/cell.h"
#include "crypto/digest.h"

namespace alga::control_plane {
namespace {

constexpr std::string_view kBootstrapId = "boot";
constexpr std::size_t kSecretBytes = 32;
constexpr std::size_t kCachedKeys = 10'000;
constexpr std::chrono::seconds kCacheLife{1};

std::unexpected<Error> invalid_token() {
  return fail(Kind::unauthenticated, "auth.invalid_token", "the token is not valid");
}

/// The id inside `alga_<id>_<secret>`.
std::optional<std::string_view> id_of(std::string_view token) {
  constexpr std::string_view kPrefix = "alga_";
  if (!token.starts_with(kPrefix) || token.size() > 200) return std::nullopt;
  token.remove_prefix(kPrefix.size());
  std::size_t border = token.find('_');
  if (border == std::string_view::npos || border == 0) return std::nullopt;
  std::string_view id = token.substr(0, border);
  return is_identifier(id) ? std::optional{id} : std::nullopt;
}

std::string token_of(std::string_view id, const std::string& secret) {
  return fmt::format("alga_{}_{}", id, base64url_encode(as_bytes(secret)));
}

/// What a role must and must not be bound to.
Status check_binding(const NewApiKey& request) {
  bool wants_tenant = domain::is_tenant_bound(request.role);
  bool wants_publisher = request.role == domain::Role::publisher;
  if (wants_tenant != request.tenant.has_value()) {
    return invalid(wants_tenant ? "this role needs a tenant" : "this role takes no tenant");
  }
  if (wants_publisher != request.publisher.has_value()) {
    return invalid(wants_publisher ? "this role needs a publisher"
                                   : "this role takes no publisher");
  }
  return {};
}

/// The role of a stored key, bound as check_binding() has seen to.
Result<domain::Role> bound_role(std::string_view name, const std::optional<std::string>& tenant,
                                const std::optional<std::string>& publisher) {
  const auto role = domain::parse_role(name);
  if (!role) return malformed_cell("role");
  if (domain::is_tenant_bound(*role) != tenant.has_value()) return malformed_cell("tenant");
  const bool publishes = *role == domain::Role::publisher;
  if (publishes != publisher.has_value()) return malformed_cell("publisher_id");
  return *role;
}

Result<std::optional<std::string>> publisher_id(sql::Executor& sql,
                                                const std::optional<std::string>& name) {
  if (!name) return std::optional<std::string>{};
  TRY(auto row, sql.find("SELECT id FROM publishers WHERE name = $1", {*name}));
  if (!row) return fail(Kind::not_found, "publisher.not_found", "there is no such publisher");
  return std::optional{row->at<std::string>(0)};
}

Status check_tenant(sql::Executor& sql, const std::optional<std::string>& tenant) {
  if (!tenant) return {};
  TRY(auto row, sql.find("SELECT 1 FROM tenants WHERE id = $1", {*tenant}));
  if (!row) return fail(Kind::not_found, "tenant.not_found", "there is no such tenant");
  return {};
}

}  // namespace

Result<std::optional<Secret>> ApiKeys::bootstrap() {
  std::string token = token_of(kBootstrapId, core_.random_bytes(kSecretBytes));
  std::string hash = crypto::hash_token(token);
  TRY(bool made, core_.db().write([&](sql::Executor& sql) -> Result<bool> {
    TRY(auto row, sql.find("SELECT 1 FROM api_keys LIMIT 1"));
    if (row) return false;
    TRY_VOID(
        sql.execute("INSERT INTO api_keys (id, secret_hash, kind, label, role, created_at, "
                    "created_by) VALUES ($1, $2, 'bootstrap', 'bootstrap token', 'operator', "
                    "$3, 'first start')",
                    {kBootstrapId, hash, core_.now()}));
    return true;
  }));
  if (!made) return std::optional<Secret>{};
  return std::optional<Secret>{Secret{std::move(token)}};
}

Result<ApiKeys::Created> ApiKeys::create(const Caller& caller, const NewApiKey& request) {
  TRY_VOID(check_binding(request));
  const domain::Principal& who = caller.principal;
  const bool own_tenant = who.role == domain::Role::tenant_admin && who.tenant.has_value() &&
                          request.tenant == who.tenant->str();
  if (!who.is_operator() && !own_tenant) {
    return fail(Kind::denied, "auth.forbidden", "only an operator may make this key");
  }
  if (request.expires_at && *request.expires_at <= core_.now()) {
    return invalid("expires_at is in the past");
  }
  TRY(std::string label, checked_text(request.label, "label", 200));
  std::string id = hex_encode(as_bytes(core_.random_bytes(8)));
  std::string token = token_of(id, core_.random_bytes(kSecretBytes));
  std::string hash = crypto::hash_token(token);
  TRY_VOID(core_.db().write([&](sql::Executor& sql) -> Status {
    TRY_VOID(check_tenant(sql, request.tenant));
    TRY(auto publisher, publisher_id(sql, request.publisher));
    TRY_VOID(sql.execute(
        "INSERT INTO api_keys (id, secret_hash, kind, label, role, tenant, publisher_id, "
        "created_at, created_by, expires_at) VALUES ($1, $2, 'api_key', $3, $4, $5, $6, $7, $8, "
        "$9)",
        {id, hash, label, domain::to_string(request.role), request.tenant, publisher, core_.now(),
         who.id, request.expires_at}));
    return append_audit(sql, core_, caller,
                        {.tenant = request.tenant.value_or(std::string(kPlatformTenant)),
                         .action = "api_key.created",
                         .target = id,
                         .details = {{"label", label}, {"role", domain::to_string(request.role)}}});
  }));
  return Created{id, Secret{std::move(token)}};
}

Result<std::vector<boost::json::object>> ApiKeys::list(const Caller& caller) const {
  std::optional<std::string> tenant;
  if (caller.principal.tenant) tenant = caller.principal.tenant->str();
  TRY(sql::Rows rows, core_.db().read([&](sql::Executor& sql) {
    // An operator sees all keys, everybody else those of the own tenant.
    constexpr std::string_view kSelect =
        "SELECT k.id, k.kind, k.label, k.role, k.tenant, p.name, k.created_at, k.created_by, "
        "k.expires_at, k.revoked_at FROM api_keys k LEFT JOIN publishers p ON p.id = "
        "k.publisher_id ";
    return tenant
               ? sql.query(std::string(kSelect) + "WHERE k.tenant = $1 ORDER BY k.created_at DESC",
                           {*tenant})
               : sql.query(std::string(kSelect) + "ORDER BY k.created_at DESC");
  }));
  std::vector<boost::json::object> keys;
  auto time = [](const std::optional<WallTime>& at) {
    return at ? boost::json::value(format_rfc3339(*at)) : boost::json::value(nullptr);
  };
  auto text = [](const std::optional<std::string>& value) {
    return value ? boost::json::value(*value) : boost::json::value(nullptr);
  };
  for (const sql::Row& row : rows) {
    auto [id, kind, label, role, of_tenant, publisher, created, by, expires, revoked] =
        row.as<std::string, std::string, std::string, std::string, std::optional<std::string>,
               std::optional<std::string>, WallTime, std::string, std::optional<WallTime>,
               std::optional<WallTime>>();
    keys.push_back({{"id", id},
                    {"kind", kind},
                    {"label", label},
                    {"role", role},
                    {"tenant", text(of_tenant)},
                    {"publisher", text(publisher)},
                    {"created_at", format_rfc3339(created)},
                    {"created_by", by},
                    {"expires_at", time(expires)},
                    {"revoked_at", time(revoked)}});
  }
  return keys;
}

Status ApiKeys::revoke(const Caller& caller, const std::string& id) {
  auto not_found = [] {
    return fail(Kind::not_found, "api_key.not_found", "there is no such key");
  };
  TRY_VOID(core_.db().write([&](sql::Executor& sql) -> Status {
    TRY(auto row,
        sql.find("SELECT tenant FROM api_keys WHERE id = $1 AND revoked_at IS NULL", {id}));
    if (!row) return not_found();
    auto tenant = row->at<std::optional<std::string>>(0);
    const auto& own = caller.principal.tenant;
    if (!caller.principal.is_operator() && (!own || tenant != own->str())) return not_found();
    TRY_VOID(sql.execute("UPDATE api_keys SET revoked_at = $1 WHERE id = $2", {core_.now(), id}));
    return append_audit(sql, core_, caller,
                        {.tenant = tenant.value_or(std::string(kPlatformTenant)),
                         .action = "api_key.revoked",
                         .target = id,
                         .details = {}});
  }));
  std::lock_guard lock(mutex_);
  ++epoch_;
  cache_.clear();
  return {};
}

Result<domain::Principal> ApiKeys::authenticate(std::string_view token) const {
  std::string hash = crypto::hash_token(token);
  std::uint64_t epoch = 0;
  {
    std::lock_guard lock(mutex_);
    epoch = epoch_;
    auto found = cache_.find(hash);
    if (found != cache_.end() && found->second.fresh_until > core_.steady()) {
      const auto& expires = found->second.expires_at;
      if (expires && *expires <= core_.now()) return invalid_token();
      return found->second.principal;
    }
  }
  TRY(Cached fresh, look_up(token));
  std::lock_guard lock(mutex_);
  if (epoch == epoch_) {  // nothing was revoked while we looked
    if (cache_.size() >= kCachedKeys) cache_.clear();
    cache_.insert_or_assign(hash, fresh);
  }
  return fresh.principal;
}

Result<ApiKeys::Cached> ApiKeys::look_up(std::string_view token) const {
  SteadyTime asked = core_.steady();
  auto id = id_of(token);
  if (!id) return invalid_token();
  TRY(auto row, core_.db().read([&](sql::Executor& sql) {
    return sql.find(
        "SELECT k.secret_hash, k.kind, k.label, k.role, k.tenant, p.name, k.expires_at FROM "
        "api_keys k LEFT JOIN publishers p ON p.id = k.publisher_id LEFT JOIN tenants t ON t.id = "
        "k.tenant WHERE k.id = $1 AND k.revoked_at IS NULL AND t.disabled_at IS NULL",
        {*id});
  }));
  if (!row) return invalid_token();
  auto [hash, kind, label, role_name, tenant, publisher, expires] =
      row->as<std::string, std::string, std::string, std::string, std::optional<std::string>,
              std::optional<std::string>, std::optional<WallTime>>();
  bool expired = expires && *expires <= core_.now();
  if (!crypto::constant_time_equal(hash, crypto::hash_token(token)) || expired) {
    return invalid_token();
  }
  TRY(const domain::Role role, bound_role(role_name, tenant, publisher));
  domain::Principal principal{
      .id = fmt::format("{}:{}", kind, *id),
      .role = role,
      .source = kind == "bootstrap" ? domain::Principal::Source::bootstrap
                                    : domain::Principal::Source::api_key,
      .publisher = publisher,
      .label = label,
  };
  if (tenant) {
    TRY(principal.tenant, parsed_cell<TenantId>(*tenant, "tenant"));
  }
  return Cached{std::move(principal), asked + kCacheLife, expires};
}

}  // namespace alga::control_plane
