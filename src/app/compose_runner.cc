#include <utility>

#include "app/settings.h"
#include "app/world_parts.h"
#include "base/token_lines.h"
#include "crypto/locked_bytes.h"
#include "runner/http_ui_proxy.h"

namespace alga::app {
namespace {

engine::KeepPages keep_pages(std::string_view wanted) {
  if (wanted == "on") return engine::KeepPages::on;
  return wanted == "off" ? engine::KeepPages::off : engine::KeepPages::automatic;
}

/// Opened secrets that cannot be locked stop nothing, but whoever runs this is to know.
void tell_whether_locked(std::uint64_t bytes, Metrics& metrics, const Logger& log) {
  const bool locked = crypto::can_lock_memory(bytes);
  metrics
      .gauge("alga_secret_memory_locked",
             "1 when as much memory as opened secrets may take can be kept from swap, else 0")
      .set(locked ? 1 : 0);
  if (locked) return;
  log.warn("opened secrets may be written to swap: their memory cannot be locked",
           {{"code", "secret.memory_not_locked"},
            {"bytes", bytes},
            {"what_to_do",
             "raise RLIMIT_MEMLOCK (systemd: LimitMEMLOCK, containers: --ulimit memlock) above "
             "secrets.cache_bytes, or have no swap"}});
}

}  // namespace

Status World::Parts::build_egress() {
  egress::CurlLoopOptions loop;
  loop.max_in_flight = config.number("egress.max_in_flight");
  loop.max_pool_connections = config.number("egress.connections_per_partition");
  guest_loop = std::make_shared<egress::CurlLoop>(loop, metrics);
  std::vector<domain::AddressBytes> own = egress::interface_addresses();
  for (const std::string& text : config.list("egress.own_addresses")) {
    std::optional<domain::AddressBytes> address = domain::parse_address(text);
    if (!address) {
      return fail(Kind::invalid, "config.bad_value", "egress.own_addresses: no address: " + text);
    }
    own.push_back(domain::unmapped(*address));
  }
  egress = std::make_unique<egress::CurlEgress>(
      guest_loop,
      egress::CurlEgressOptions{.authorities_file = config.text("egress.authorities"),
                                .fixed_addresses = config.list("egress.fixed_addresses"),
                                .max_request_bytes = limits.value(domain::Limit::host_bytes),
                                .own_addresses = std::move(own)});
  if (!config.text("runner.ui_proxy.url").empty()) {
    ui_proxy = std::make_unique<runner::HttpUiProxy>(
        runner::HttpUiProxy::Options{
            .base_url = config.text("runner.ui_proxy.url"),
            .timeout = config.duration("runner.ui_proxy.timeout"),
            .max_response_bytes = limits.value(domain::Limit::fetch_response),
            .tls = {.authorities_file = config.text("tls.ca")}},
        *client, *clock);
  }
  return {};
}

Status World::Parts::build_engine() {
  // Who compiles signs; a runner that only loads what others compiled holds no private key.
  std::shared_ptr<const crypto::SigningKey> artefact_key;
  if (config.number("engine.compile_processes") > 0) {
    TRY(artefact_key, load_or_make_signing_key(*secrets, artefact_key_secret));
  }
  if (roles.control_plane && artefact_key) {
    // What runners with keys of their own are to believe: `engine.artefact_keys`.
    log.info("compiles", {{"artefact_key", artefact_key->public_key().base64()}});
  } else if (artefact_key) {
    log.info("compiles for itself", {{"artefact_key", artefact_key->public_key().base64()}});
  }
  engine::Options options;
  options.limits = limits;
  options.threads = static_cast<std::uint32_t>(config.number("engine.threads"));
  options.max_executions = static_cast<std::uint32_t>(limits.value(domain::Limit::executions));
  options.max_executions_per_tenant =
      static_cast<std::uint32_t>(limits.value(domain::Limit::executions_per_tenant));
  options.max_executions_per_install =
      static_cast<std::uint32_t>(limits.value(domain::Limit::executions_per_install));
  options.cache = data / "artefacts";
  options.cache_bytes = config.size("engine.disk_cache_bytes");
  options.memory_cache_bytes = config.size("engine.memory_cache_bytes");
  options.slice = config.duration("engine.slice");
  options.keep_pages = keep_pages(config.text("engine.keep_pages"));
  options.compile_processes = static_cast<std::uint32_t>(config.number("engine.compile_processes"));
  options.compile_time = config.duration("engine.compile_timeout");
  options.compile_memory = config.size("engine.compile_memory");
  if (artefact_key) options.trusted_keys.push_back(artefact_key->public_key());
  options.shared_artefacts = store.get();
  options.publish_artefacts = roles.control_plane;
  options.compile_key = std::move(artefact_key);
  options.capability_log_sampling = config.fraction("log.capability_sample");
  for (const std::string& text : config.list("engine.artefact_keys")) {
    std::optional<crypto::PublicKey> key = crypto::PublicKey::from_base64(text);
    if (!key) return fail(Kind::invalid, "config.bad_key", "engine.artefact_keys: no public key");
    options.trusted_keys.push_back(*key);
  }
  TRY(engine, engine::Engine::create(std::move(options), {.egress = egress.get(),
                                                          .storage = storage_door.get(),
                                                          .ui_proxy = ui_proxy.get(),
                                                          .records = records_door.get(),
                                                          .clock = clock.get(),
                                                          .random = &random,
                                                          .metrics = &metrics,
                                                          .log = log.named("engine")}));
  return {};
}

void World::Parts::build_opener(const domain::EnvelopePolicy& envelopes) {
  vault::EnvelopeOpener::Options opening;
  opening.policy = envelopes;
  opening.max_entries = config.number("secrets.cache_entries");
  opening.max_bytes = config.size("secrets.cache_bytes");
  tell_whether_locked(opening.max_bytes, metrics, log);
  opening.ttl =
      std::chrono::duration_cast<std::chrono::seconds>(config.duration("secrets.cache_ttl"));
  opening.sweep_every = std::chrono::seconds{1};
  opening.transit_mount = config.text("vault.transit_mount");
  opening.allowed_mounts = config.list("vault.allowed_mounts");
  opening.allow_unbound_transit = config.flag("vault.allow_unbound_transit");
  // As many may wait as may be prepared at a time, in all and of one tenant: it is the runner that
  // refuses them first.
  const domain::Lines lines =
      domain::lines_of(static_cast<std::uint32_t>(limits.value(domain::Limit::executions)));
  opening_pool = std::make_unique<async::BlockingPool>(config.number("secrets.opening_threads"),
                                                       lines.process, "secrets");
  opener = std::make_unique<vault::EnvelopeOpener>(
      opening,
      vault::EnvelopeOpener::Dependencies{
          .clock = *clock,
          .metrics = metrics,
          .sealing_keys = [this] { return secret_parts.ring->opening(); },
          .submit = [this](const TenantId& tenant,
                           auto job) { return opening_pool->submit(tenant.str(), std::move(job)); },
          .transit = secret_parts.transit.get(),
          .broker = &secret_parts.broker,
          .refresh_sealing_keys = [this] { secret_parts.ring->refresh_for_unknown_key(); }});
}

Status World::Parts::build_runner() {
  storage_door = std::make_unique<StorageDoor>();
  records_door = std::make_unique<RecordsDoor>();
  if (spans) {
    traced_records = std::make_unique<telemetry::ExecutionSpans>(*records_door, *spans, random);
  }
  TRY_VOID(build_egress());
  TRY_VOID(build_engine());
  if (!roles.runner) return {};

  domain::EnvelopePolicy envelopes;
  envelopes.allow_inline = config.flag("secrets.allow_inline");
  const bool drop_in = config.text("runner.trust") == "service-token";
  envelopes.require_expiry = !drop_in;
  build_opener(envelopes);
  grants = std::make_unique<domain::GrantVerifier>(*clock);
  refresh_grant_keys();
  blob::BundleCache::Options caching;
  caching.root = path_or("bundles.cache.path", data / "cache");
  caching.max_bytes = config.size("bundles.cache.max_bytes");
  caching.limits.archive_bytes = limits.value(domain::Limit::bundle_archive);
  caching.limits.unpacked_bytes = limits.value(domain::Limit::bundle_unpacked);
  caching.limits.entries = static_cast<std::uint32_t>(limits.value(domain::Limit::bundle_entries));
  TRY(bundles, blob::BundleCache::open(
                   caching, {.store = *store,
                             .clock = *clock,
                             .random = random,
                             .metrics = metrics,
                             .log = log.named("bundles"),
                             .submit = [this](auto job) { return pool->submit(std::move(job)); }}));
  runner::Options running;
  running.trust = drop_in ? runner::Options::Trust::service_token : runner::Options::Trust::grant;
  TRY(std::optional<Secret> token, config.secret("runner.service_token"));
  if (token && accepts_known_token(*token) && !config.flag("server.development")) {
    return fail(Kind::invalid, "config.default_token",
                "runner.service_token is a well-known default; choose a secret one");
  }
  if (token) running.service_token = std::move(*token);
  running.client_names = config.list("runner.client_names");
  running.cold_wait = config.duration("engine.cold_wait");
  running.limits = limits;
  running.execution_log_sampling = config.fraction("log.execution_sample");
  running.cache_max_bytes = caching.max_bytes;
  running.envelopes = envelopes;
  if (drop_in) {
    TRY(domain::EgressPolicy policy, domain::EgressPolicy::parse(config.list("egress.rules")));
    running.drop_in_egress = std::make_shared<const domain::EgressPolicy>(std::move(policy));
  }
  running.idempotency.max_bytes = config.size("runner.idempotency_bytes");
  running.idempotency.life =
      std::chrono::duration_cast<std::chrono::seconds>(config.duration("runner.idempotency_ttl"));
  domain::RecordSink* records = records_door.get();
  if (traced_records) records = traced_records.get();
  runner = std::make_unique<runner::RunnerRole>(std::move(running),
                                                runner::Dependencies{.engine = engine.get(),
                                                                     .bundles = bundles.get(),
                                                                     .store = store.get(),
                                                                     .secrets = opener.get(),
                                                                     .grants = grants.get(),
                                                                     .records = records,
                                                                     .pool = pool.get(),
                                                                     .clock = clock.get(),
                                                                     .random = &random,
                                                                     .metrics = &metrics,
                                                                     .log = log.named("runner")});
  if (!roles.control_plane) return build_lone_runner();
  return {};
}

}  // namespace alga::app
