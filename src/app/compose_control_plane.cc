#include <cstdio>
#include <utility>

#include "app/world_parts.h"

namespace alga::app {
namespace {

/// 0 stands for no limit in the configuration.
std::optional<std::uint64_t> limit_or_none(std::uint64_t value) {
  return value == 0 ? std::nullopt : std::optional{value};
}

control_plane::QuotaPolicy quota_policy(const config::Config& config) {
  control_plane::QuotaPolicy policy;
  const std::string& period = config.text("quotas.period");
  if (period == "hour") policy.period = control_plane::QuotaPeriod::hour;
  if (period == "month") policy.period = control_plane::QuotaPeriod::month;
  policy.limits.invocations = limit_or_none(config.number("quotas.invocations"));
  policy.limits.cpu_ms =
      limit_or_none(static_cast<std::uint64_t>(config.duration("quotas.cpu_time").count()));
  policy.limits.memory_mb_s = limit_or_none(config.number("quotas.memory_mb_seconds"));
  policy.limits.egress_bytes = limit_or_none(config.size("quotas.egress_bytes"));
  return policy;
}

control_plane::RetentionPolicy retention_policy(const config::Config& config) {
  using std::chrono::duration_cast, std::chrono::hours;
  control_plane::RetentionPolicy policy;
  policy.guest_logs = duration_cast<hours>(config.duration("records.guest_logs_kept"));
  policy.executions = duration_cast<hours>(config.duration("records.executions_kept"));
  policy.guest_log_bytes_per_tenant = config.size("records.guest_log_bytes");
  return policy;
}

}  // namespace

Status World::Parts::build_control_plane() {
  TRY_VOID(build_database());
  fs::path scratch = data / "uploads";
  TRY_VOID(private_folder(scratch));
  control_plane::Options options;
  options.idempotency_life =
      std::chrono::duration_cast<std::chrono::seconds>(config.duration("gateway.idempotency_ttl"));
  options.gateway_only = !roles.control_plane;
  options.development = config.flag("server.development");
  auto take = [&](std::string_view name, Secret& into) -> Status {
    TRY(std::optional<Secret> value, config.secret(name));
    if (value) into = std::move(*value);
    return {};
  };
  TRY_VOID(take("control_plane.token", options.tokens.install_config));
  TRY_VOID(take("runner.storage.token", options.tokens.storage));
  TRY_VOID(take("runner.registry.key", options.tokens.registry));
  options.limits = limits;
  options.publishing.max_archive_bytes = limits.value(domain::Limit::bundle_archive);
  options.publishing.max_component_bytes = limits.value(domain::Limit::component_size);
  options.publishing.exact_imports = config.text("publishing.imports") == "exact";
  options.publishing.require_signatures = config.flag("publishing.require_signatures");
  if (const std::string& until = config.text("publishing.legacy_modules_until"); !until.empty()) {
    options.publishing.legacy_modules_until = parse_rfc3339(until);
  }
  options.publishing.pilot_tenants = config.list("publishing.pilot_tenants");
  options.publishing.uploads = static_cast<std::uint32_t>(config.number("publishing.uploads"));
  options.publishing.uploads_window = config.duration("publishing.uploads_window");
  options.retention = retention_policy(config);
  options.quotas = quota_policy(config);
  options.lease = config.duration("control_plane.lease");
  // Without a gateway of its own, all of them are in other processes; and beside one on a database
  // of several hosts there may be a second process that has both roles.
  options.remote_gateways = config.flag("control_plane.remote_gateways") || !roles.gateway ||
                            database->dialect() == sql::Dialect::postgres;
  options.storage_without_grant = config.flag("control_plane.storage_without_grant");
  options.envelope_life =
      std::chrono::duration_cast<std::chrono::seconds>(config.duration("secrets.envelope_life"));
  options.broker.enabled = secrets_transport() == "broker-token:v1";
  options.broker.token_life = std::chrono::duration_cast<std::chrono::seconds>(
      config.duration("secrets.broker_token_life"));
  options.broker.runners = config.list("secrets.broker_runners");
  options.domain_root = config.text("control_plane.domain_root");
  options.artefact_bytes = config.size("engine.shared_cache_bytes");
  options.scratch = scratch;

  control_plane::Dependencies use;
  use.database = database.get();
  use.blocking = pool.get();
  use.bundles = store.get();
  use.keys = keys.get();
  use.inspector = engine.get();
  use.compiler = engine.get();
  use.people = people.get();
  use.clock = clock.get();
  use.random = &random;
  use.metrics = &metrics;
  use.log = log.named("control-plane");
  use.sealer = secret_parts.sealer.get();
  use.grant_keys_changed = [this] { refresh_grant_keys(); };
  if (roles.control_plane) {
    TRY(use.warm_up, build_warm_up());
  }
  use.options = std::move(options);
  TRY(control_plane, control_plane::ControlPlane::create(std::move(use)));
  if (!roles.control_plane) return {};
  storage_door->target = &control_plane->storage();
  records_door->target = &control_plane->records();
  refresh_grant_keys();
  open_own_broker();

  if (std::optional<Secret> token = control_plane->take_bootstrap_token()) {
    first_start = true;
    const std::string& file = config.text("server.bootstrap_token_file");
    if (file.empty()) {
      std::fprintf(stderr, "bootstrap token: %.*s\n", static_cast<int>(token->reveal().size()),
                   token->reveal().data());
    } else {
      TRY_VOID(write_private_file(file, token->reveal()));
    }
  }
  return {};
}

void World::Parts::refresh_grant_keys() {
  if (!grants) return;
  std::vector<crypto::PublicKey> trusted;
  for (const std::string& text : config.list("runner.grant_keys")) {
    if (auto key = crypto::PublicKey::from_base64(text)) trusted.push_back(*key);
  }
  if (control_plane && roles.control_plane) {
    for (const control_plane::GrantKey& key : control_plane->grant_keys()) {
      trusted.push_back(key.key);
    }
    std::vector<crypto::PublicKey> brokers;
    for (const control_plane::GrantKey& key : control_plane->broker_keys()) {
      brokers.push_back(key.key);
    }
    trust_broker_keys(std::move(brokers));
  }
  grants->set_keys(trusted);
}

/// Without grants a token is all that a request shows, so there the broker judges each.
void World::Parts::trust_broker_keys(std::vector<crypto::PublicKey> trusted) {
  if (config.text("runner.trust") == "grant") opener->trust_broker_keys(std::move(trusted));
}

}  // namespace alga::app
