#include "control_plane/sql_control_plane.h"

#include "base/token_lines.h"
#include "control_plane/operations.h"
#include "control_plane/schema/migrations.h"

namespace alga::control_plane {
namespace {

Status check_token(const Secret& token, std::string_view name, bool development) {
  if (development || !accepts_known_token(token)) return {};
  return fail(Kind::invalid, "config.default_token",
              std::string(name) + " is a well-known default; choose a secret one");
}

Status check_options(const Options& options) {
  const InternalTokens& tokens = options.tokens;
  TRY_VOID(check_token(tokens.install_config, "the install-config token", options.development));
  TRY_VOID(check_token(tokens.storage, "the storage token", options.development));
  TRY_VOID(check_token(tokens.registry, "the registry key", options.development));
  return {};
}

}  // namespace

Result<std::unique_ptr<ControlPlane>> ControlPlane::create(Dependencies dependencies) {
  ALGA_CHECK(dependencies.database != nullptr && dependencies.blocking != nullptr);
  ALGA_CHECK(dependencies.clock != nullptr && dependencies.random != nullptr);
  ALGA_CHECK(dependencies.metrics != nullptr);
  ALGA_CHECK(dependencies.options.lease <= longest_lease);  // as the configuration sees to
  if (!dependencies.options.gateway_only) {
    ALGA_CHECK(dependencies.bundles != nullptr && dependencies.keys != nullptr);
    ALGA_CHECK(dependencies.inspector != nullptr && dependencies.compiler != nullptr);
    ALGA_CHECK(dependencies.sealer != nullptr);
  }
  TRY_VOID(check_options(dependencies.options));
  auto plane = std::make_unique<SqlControlPlane>(std::move(dependencies));
  TRY_VOID(plane->start());
  return plane;
}

Result<sql::MigrationReport> migrate_schema(sql::Database& database, const Clock& clock) {
  return sql::migrate(database, schema::migrations(), clock);
}

/// The control plane migrates; a gateway of a newer version waits until that has happened.
Status SqlControlPlane::check_schema() {
  TRY(const std::uint32_t version, sql::schema_version(services_.core.db()));
  if (version >= schema::migrations().back().version) return {};
  return fail(Kind::unavailable, "sql.schema_too_old",
              "the control plane has not brought the database up to this version yet");
}

std::uint32_t newest_schema() { return schema::migrations().back().version; }

Status SqlControlPlane::start() {
  if (services_.core.options().gateway_only) {
    TRY_VOID(check_schema());
    keeper_ = std::make_unique<LeaseKeeper>(services_.core);
    return {};
  }
  TRY_VOID(migrate_schema(services_.core.db(), *services_.core.deps().clock));
  services_.signing.on_change([this] {
    trust_grant_keys();
    if (services_.core.deps().grant_keys_changed) services_.core.deps().grant_keys_changed();
  });
  TRY_VOID(services_.signing.load());
  trust_grant_keys();
  TRY(bootstrap_, services_.api_keys.bootstrap());
  housekeeping_ = std::make_unique<Housekeeping>(services_);
  services_.keep_compiled.start();
  return {};
}

void SqlControlPlane::trust_grant_keys() {
  std::vector<crypto::PublicKey> keys;
  for (const GrantKey& key : grant_keys()) keys.push_back(key.key);
  services_.grants.set_keys(keys);
}

SqlControlPlane::~SqlControlPlane() { housekeeping_.reset(); }

void SqlControlPlane::add_routes(httpd::Router& router) {
  Api api(services_.core, services_.api_keys, services_.leases, router);
  add_access_routes(api, services_);
  add_publishing_routes(api, services_);
  add_registry_routes(api, services_);
  add_install_routes(api, services_);
  add_setting_routes(api, services_);
  add_internal_routes(api, services_);
  add_redeem_routes(api, services_);
  add_storage_routes(api, services_);
  add_storage_schema_routes(api, services_);
  add_record_routes(api, services_);
  add_quota_routes(api, services_);
  add_compat_routes(api, services_);
  add_meta_routes(api, services_);
}

void SqlControlPlane::stop(SteadyTime deadline) {
  services_.keep_compiled.stop();
  services_.warm_ups.stop();
  if (keeper_) keeper_->stop();
  services_.records.stop(deadline);
  if (!housekeeping_) return;
  housekeeping_->stop();
  // What the last records added to the audit trail does not wait for the next start.
  if (auto sealed = services_.sealer.seal(); !sealed) {
    services_.core.log().warn("the audit trail was left unsealed", {{"code", sealed.error().code}});
  }
}

async::Task<Result<domain::Principal>> KeyAuthenticator::authenticate(std::string token) {
  const Core* core = &services_.core;
  domain::Authenticator* people = core->deps().people;
  if (people != nullptr && !ApiKeys::is_key(token)) {
    co_return co_await people->authenticate(std::move(token));
  }
  co_return co_await core->deps().blocking->run(
      [this, &token] { return services_.api_keys.authenticate(token); });
}

}  // namespace alga::control_plane
