#include "app/world.h"

#include <algorithm>
#include <filesystem>
#include <thread>
#include <utility>

#include "app/ground.h"
#include "app/late_ports.h"
#include "app/settings.h"
#include "async/blocking_pool.h"
#include "async/io_threads.h"
#include "blob/bundle_cache.h"
#include "blob/egress_transport.h"
#include "blob/filesystem_bundle_store.h"
#include "blob/http_bundle_store.h"
#include "blob/s3_bundle_store.h"
#include "control_plane/control_plane.h"
#include "domain/grant.h"
#include "egress/curl_egress.h"
#include "egress/curl_loop.h"
#include "egress/http_client.h"
#include "engine/engine.h"
#include "gateway/gateway.h"
#include "gateway/http_runner.h"
#include "httpd/server.h"
#include "runner/http_ui_proxy.h"
#include "runner/runner.h"
#include "sql/database.h"
#include "telemetry/json_log.h"
#include "telemetry/prometheus_metrics.h"
#include "telemetry/record_spool.h"
#include "tls/server_context.h"
#include "vault/envelope_opener.h"
#include "vault/key_ring.h"
#include "vault/providers.h"

namespace alga::app {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view artefact_key_secret = "alga_artefact_key";

fs::path path_or(const config::Config& config, std::string_view name, const fs::path& otherwise) {
  const std::string& given = config.text(name);
  return given.empty() ? otherwise : fs::path(given);
}

}  // namespace

Roles Roles::of(const config::Config& config) {
  Roles roles;
  for (const std::string& name : config.list("server.roles")) {
    roles.control_plane |= name == "all" || name == "control-plane";
    roles.gateway |= name == "all" || name == "gateway";
    roles.runner |= name == "all" || name == "runner";
  }
  return roles;
}

struct World::Parts {
  explicit Parts(const config::Config& from) : config(from), roles(Roles::of(from)) {}

  Status build();
  /// Refuses settings whose part exists but is not composed yet, rather than ignore them.
  [[nodiscard]] Status refuse_unwired() const;
  Status build_ground();
  Status build_secrets();
  Status build_store();
  Status build_control_plane();
  Status build_runner();
  Status build_gateway();
  Status listen();
  void add_common_routes(httpd::Router& router);
  void refresh_grant_keys();
  [[nodiscard]] Result<std::shared_ptr<tls::ServerContext>> listener_tls() const;

  const config::Config& config;
  const Roles roles;
  domain::ServerLimits limits;
  fs::path data;

  // From the ground up; destroyed in reverse order.
  std::shared_ptr<const SystemClock> clock = std::make_shared<const SystemClock>();
  SystemRandom random;
  telemetry::PrometheusMetrics metrics;
  std::shared_ptr<telemetry::JsonLog> sink;
  Logger log;
  std::unique_ptr<async::BlockingPool> pool;
  std::unique_ptr<async::IoThreads> io;
  std::shared_ptr<egress::CurlLoop> own_loop, guest_loop;
  std::unique_ptr<egress::HttpClient> client;
  std::unique_ptr<egress::CurlEgress> egress;
  std::shared_ptr<vault::SecretChain> secrets;
  std::unique_ptr<vault::LocalKeyProvider> keys;
  std::shared_ptr<const crypto::AeadKey> envelope_key;
  std::string envelope_key_id;
  std::shared_ptr<const domain::SealingKeys> sealing_keys;
  std::unique_ptr<blob::ObjectTransport> object_transport;
  std::unique_ptr<domain::BundleStore> store;
  std::unique_ptr<sql::Database> database;
  std::unique_ptr<telemetry::RecordSpool> spool;
  std::unique_ptr<domain::GrantVerifier> grants;
  std::unique_ptr<engine::UiProxy> ui_proxy;
  std::unique_ptr<vault::EnvelopeOpener> opener;
  std::unique_ptr<blob::BundleCache> bundles;
  // The control plane compiles through the engine, the engine stores through the control plane.
  std::unique_ptr<StorageDoor> storage_door;
  std::unique_ptr<RecordsDoor> records_door;
  std::unique_ptr<engine::Engine> engine;
  std::unique_ptr<control_plane::ControlPlane> control_plane;
  std::unique_ptr<runner::RunnerRole> runner;
  std::unique_ptr<gateway::HttpRunner> remote_runner;
  std::unique_ptr<gateway::Gateway> gateway;
  std::shared_ptr<httpd::Router> router;
  std::unique_ptr<httpd::Server> server;
};

Status World::Parts::refuse_unwired() const {
  for (std::string_view name : {"server.internal_listen", "server.metrics_listen", "vault.address",
                                "gateway.oidc.issuer", "telemetry.otlp_url"}) {
    if (!config.text(name).empty()) {
      return fail(Kind::invalid, "config.unsupported", std::string(name) + " is not wired yet");
    }
  }
  if (config.text("secrets.transport") != "sealed:v1") {
    return fail(Kind::invalid, "config.unsupported",
                "secrets.transport: only `sealed:v1` is wired yet");
  }
  return {};
}

Status World::Parts::build() {
  TRY_VOID(refuse_unwired());
  TRY_VOID(build_ground());
  TRY_VOID(build_secrets());
  TRY_VOID(build_store());
  if (roles.runner || roles.control_plane) TRY_VOID(build_runner());
  if (roles.control_plane || roles.gateway) TRY_VOID(build_control_plane());
  if (roles.gateway) TRY_VOID(build_gateway());
  return listen();
}

Status World::Parts::build_ground() {
  data = config.text("server.data_dir");
  if (data.empty()) {
    return fail(Kind::invalid, "config.missing", "server.data_dir (or --data DIR) is needed");
  }
  data = fs::absolute(data);
  TRY_VOID(private_folder(data));
  TRY(limits, server_limits(config));
  sink = std::make_shared<telemetry::JsonLog>(
      telemetry::JsonLogOptions{.level = level_of(config.text("log.level"))}, clock, metrics);
  log = Logger(sink, "algad");
  pool = std::make_unique<async::BlockingPool>(config.number("server.blocking_threads"), 10'000);
  std::uint64_t threads = config.number("server.io_threads");
  io = std::make_unique<async::IoThreads>(
      threads != 0 ? threads : std::max(1U, std::thread::hardware_concurrency()), "alga-io");
  own_loop = std::make_shared<egress::CurlLoop>(egress::CurlLoopOptions{}, metrics);
  client = std::make_unique<egress::HttpClient>(own_loop);
  return {};
}

Status World::Parts::build_secrets() {
  std::vector<vault::SecretChain::Provider> readers;
  vault::SecretChain::Provider writer;
  fs::path base = path_or(config, "secrets.path", data / "secrets");
  TRY_VOID(private_folder(base));
  for (const std::string& name : config.list("secrets.read_chain")) {
    if (name == "env") {
      readers.push_back(
          std::make_shared<vault::EnvironmentSecrets>(config.text("secrets.env_prefix")));
    } else if (name == "filesystem") {
      readers.push_back(std::make_shared<vault::FileSecrets>(base, random));
    } else {
      return fail(Kind::invalid, "config.unsupported",
                  "secrets.read_chain: the provider `" + name + "` is not wired yet");
    }
  }
  if (config.text("secrets.write_provider") != "filesystem") {
    return fail(Kind::invalid, "config.unsupported",
                "secrets.write_provider: only `filesystem` is wired yet");
  }
  writer = std::make_shared<vault::FileSecrets>(base, random);
  secrets = std::make_shared<vault::SecretChain>(std::move(readers), std::move(writer),
                                                 log.named("secrets"));
  TRY(keys, vault::LocalKeyProvider::open(*secrets));
  TRY(vault::KeyRing ring, vault::load_or_make_key_ring(*secrets, vault::envelope_keys_secret));
  auto sealing = std::make_shared<domain::SealingKeys>();
  for (auto& [id, key] : ring.keys) {
    TRY(crypto::AeadKey copy, crypto::AeadKey::from_bytes(key.reveal()));
    if (id == ring.current) envelope_key = std::make_shared<const crypto::AeadKey>(std::move(key));
    sealing->add(id, std::move(copy));
  }
  envelope_key_id = ring.current;
  sealing_keys = std::move(sealing);
  return {};
}

Status World::Parts::build_store() {
  const std::string& kind = config.text("bundles.store");
  if (kind == "filesystem") {
    fs::path root = path_or(config, "bundles.path", data / "bundles");
    TRY_VOID(private_folder(root));
    store = std::make_unique<blob::FileSystemBundleStore>(root, random);
    return {};
  }
  egress::ClientTls tls{.authorities_file = config.text("tls.ca")};
  object_transport = std::make_unique<blob::EgressTransport>(*client, tls);
  if (kind == "http") {
    store = std::make_unique<blob::HttpBundleStore>(config.text("bundles.url"), *object_transport);
    return {};
  }
  blob::S3BundleStore::Options options;
  options.endpoint = config.text("bundles.s3.endpoint");
  options.bucket = config.text("bundles.s3.bucket");
  options.region = config.text("bundles.s3.region");
  options.prefix = config.text("bundles.s3.prefix");
  options.addressing = config.flag("bundles.s3.path_style")
                           ? blob::S3BundleStore::Options::Addressing::path
                           : blob::S3BundleStore::Options::Addressing::virtual_host;
  options.timeout = config.duration("bundles.timeout");
  auto credentials = [this]() -> Result<blob::S3Credentials> {
    TRY(std::optional<Secret> access, config.secret("bundles.s3.access_key"));
    TRY(std::optional<Secret> secret, config.secret("bundles.s3.secret_key"));
    if (!access || !secret) {
      return fail(Kind::invalid, "config.missing", "bundles.s3 needs access_key and secret_key");
    }
    return blob::S3Credentials{std::string(access->reveal()), std::move(*secret)};
  };
  TRY(store, blob::S3BundleStore::make(std::move(options), std::move(credentials),
                                       *object_transport, *clock));
  return {};
}

Status World::Parts::build_runner() {
  storage_door = std::make_unique<StorageDoor>();
  records_door = std::make_unique<RecordsDoor>();
  egress::CurlLoopOptions loop;
  loop.max_in_flight = config.number("egress.max_in_flight");
  loop.max_pool_connections = config.number("egress.connections_per_partition");
  guest_loop = std::make_shared<egress::CurlLoop>(loop, metrics);
  egress = std::make_unique<egress::CurlEgress>(
      guest_loop,
      egress::CurlEgressOptions{.authorities_file = config.text("egress.authorities"),
                                .fixed_addresses = config.list("egress.fixed_addresses"),
                                .max_request_bytes = limits.value(domain::Limit::host_bytes)});
  if (!config.text("runner.ui_proxy.url").empty()) {
    ui_proxy = std::make_unique<runner::HttpUiProxy>(
        runner::HttpUiProxy::Options{
            .base_url = config.text("runner.ui_proxy.url"),
            .timeout = config.duration("runner.ui_proxy.timeout"),
            .max_response_bytes = limits.value(domain::Limit::fetch_response),
            .tls = {.authorities_file = config.text("tls.ca")}},
        *client, *clock);
  }
  TRY(std::shared_ptr<const crypto::SigningKey> artefact_key,
      load_or_make_signing_key(*secrets, artefact_key_secret));
  engine::Options options;
  options.limits = limits;
  options.threads = static_cast<std::uint32_t>(config.number("engine.threads"));
  options.max_executions = static_cast<std::uint32_t>(limits.value(domain::Limit::executions));
  options.max_executions_per_tenant =
      static_cast<std::uint32_t>(limits.value(domain::Limit::executions_per_tenant));
  options.cache = data / "artefacts";
  options.cache_bytes = config.size("engine.disk_cache_bytes");
  options.trusted_keys = {artefact_key->public_key()};
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
  if (!roles.runner) return {};

  grants = std::make_unique<domain::GrantVerifier>(*clock);
  refresh_grant_keys();
  domain::EnvelopePolicy envelopes;
  envelopes.allow_inline = config.flag("secrets.allow_inline");
  const bool drop_in = config.text("runner.trust") == "service-token";
  envelopes.require_expiry = !drop_in;
  vault::EnvelopeOpener::Options opening;
  opening.policy = envelopes;
  opening.max_entries = config.number("secrets.cache_entries");
  opening.max_bytes = config.size("secrets.cache_bytes");
  opening.ttl =
      std::chrono::duration_cast<std::chrono::seconds>(config.duration("secrets.cache_ttl"));
  opener = std::make_unique<vault::EnvelopeOpener>(
      opening, vault::EnvelopeOpener::Dependencies{
                   .clock = *clock,
                   .metrics = metrics,
                   .sealing_keys = [this] { return sealing_keys; },
                   .submit = [this](auto job) { return pool->submit(std::move(job)); }});
  blob::BundleCache::Options caching;
  caching.root = path_or(config, "bundles.cache.path", data / "cache");
  caching.max_bytes = config.size("bundles.cache.max_bytes");
  caching.limits.archive_bytes = limits.value(domain::Limit::bundle_archive);
  caching.limits.unpacked_bytes = limits.value(domain::Limit::bundle_unpacked);
  caching.limits.entries = static_cast<std::uint32_t>(limits.value(domain::Limit::bundle_entries));
  TRY(bundles, blob::BundleCache::open(caching, {.store = *store,
                                                 .clock = *clock,
                                                 .random = random,
                                                 .metrics = metrics,
                                                 .log = log.named("bundles")}));
  runner::Options running;
  running.trust = drop_in ? runner::Options::Trust::service_token : runner::Options::Trust::grant;
  TRY(std::optional<Secret> token, config.secret("runner.service_token"));
  if (token) running.service_token = std::move(*token);
  running.cold_wait = config.duration("engine.cold_wait");
  running.limits = limits;
  running.envelopes = envelopes;
  if (drop_in) {
    TRY(domain::EgressPolicy policy, domain::EgressPolicy::parse(config.list("egress.rules")));
    running.drop_in_egress = std::make_shared<const domain::EgressPolicy>(std::move(policy));
  }
  running.idempotency.max_bytes = config.size("runner.idempotency_bytes");
  running.idempotency.life =
      std::chrono::duration_cast<std::chrono::seconds>(config.duration("runner.idempotency_ttl"));
  runner = std::make_unique<runner::RunnerRole>(std::move(running),
                                                runner::Dependencies{.engine = engine.get(),
                                                                     .bundles = bundles.get(),
                                                                     .store = store.get(),
                                                                     .secrets = opener.get(),
                                                                     .grants = grants.get(),
                                                                     .records = records_door.get(),
                                                                     .pool = pool.get(),
                                                                     .clock = clock.get(),
                                                                     .random = &random,
                                                                     .metrics = &metrics,
                                                                     .log = log.named("runner")});
  if (!roles.control_plane) {
    fs::path folder = data / "spool";
    TRY_VOID(private_folder(folder));
    telemetry::RecordSpoolOptions spooling;
    spooling.folder = folder.string();
    spooling.max_disk_bytes = config.size("records.spool_bytes");
    TRY(spool, telemetry::RecordSpool::open(spooling, *clock, random, metrics, log.named("spool")));
    records_door->target = spool.get();
  }
  return {};
}

Status World::Parts::build_control_plane() {
  std::string address = config.text("database.url");
  if (address.empty()) address = "sqlite:" + (data / "alga.db").string();
  TRY(database, sql::open_database(
                    address, static_cast<std::uint32_t>(config.number("database.connections"))));
  fs::path scratch = data / "uploads";
  TRY_VOID(private_folder(scratch));
  control_plane::Options options;
  options.development = config.flag("server.development");
  auto take = [&](std::string_view name, Secret& into) -> Status {
    TRY(std::optional<Secret> value, config.secret(name));
    if (value) into = std::move(*value);
    return {};
  };
  TRY_VOID(take("control_plane.token", options.tokens.install_config));
  TRY_VOID(take("runner.storage.token", options.tokens.storage));
  TRY_VOID(take("runner.registry.key", options.tokens.registry));
  options.publishing.max_archive_bytes = limits.value(domain::Limit::bundle_archive);
  options.publishing.max_component_bytes = limits.value(domain::Limit::component_size);
  options.publishing.exact_imports = config.text("publishing.imports") == "exact";
  options.publishing.require_signatures = config.flag("publishing.require_signatures");
  if (const std::string& until = config.text("publishing.legacy_modules_until"); !until.empty()) {
    options.publishing.legacy_modules_until = parse_rfc3339(until);
  }
  options.retention.guest_logs =
      std::chrono::duration_cast<std::chrono::hours>(config.duration("records.guest_logs_kept"));
  options.retention.executions =
      std::chrono::duration_cast<std::chrono::hours>(config.duration("records.executions_kept"));
  options.retention.guest_log_bytes_per_tenant = config.size("records.guest_log_bytes");
  options.lease = config.duration("control_plane.lease");
  options.remote_gateways = config.flag("control_plane.remote_gateways");
  options.envelope_life =
      std::chrono::duration_cast<std::chrono::seconds>(config.duration("secrets.envelope_life"));
  options.domain_root = config.text("control_plane.domain_root");
  options.scratch = scratch;

  control_plane::Dependencies use;
  use.database = database.get();
  use.blocking = pool.get();
  use.bundles = store.get();
  use.keys = keys.get();
  use.inspector = engine.get();
  use.compiler = engine.get();
  use.clock = clock.get();
  use.random = &random;
  use.metrics = &metrics;
  use.log = log.named("control-plane");
  use.envelope_key = envelope_key;
  use.envelope_key_id = envelope_key_id;
  use.grant_keys_changed = [this] { refresh_grant_keys(); };
  use.options = std::move(options);
  TRY(control_plane, control_plane::ControlPlane::create(std::move(use)));
  if (storage_door) storage_door->target = &control_plane->storage();
  if (records_door) records_door->target = &control_plane->records();
  refresh_grant_keys();

  if (std::optional<Secret> token = control_plane->take_bootstrap_token()) {
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
  if (control_plane) {
    for (const control_plane::GrantKey& key : control_plane->grant_keys()) {
      trusted.push_back(key.key);
    }
  }
  grants->set_keys(trusted);
}

Status World::Parts::build_gateway() {
  domain::Runner* target = runner.get();
  if (!config.text("runner.url").empty()) {
    gateway::HttpRunner::Options options;
    options.url = config.text("runner.url");
    options.service_token = [this]() -> Result<Secret> {
      TRY(std::optional<Secret> token, config.secret("runner.service_token"));
      return token ? std::move(*token) : Secret{};
    };
    options.grace = config.duration("gateway.grace");
    options.tls = {config.text("tls.ca"), config.text("tls.client_certificate"),
                   config.text("tls.client_key")};
    remote_runner = std::make_unique<gateway::HttpRunner>(std::move(options), *client);
    target = remote_runner.get();
  }
  if (target == nullptr) {
    return fail(Kind::invalid, "config.missing", "a gateway without runner needs runner.url");
  }
  gateway::Options options;
  options.allowed_origins = config.list("gateway.allowed_origins");
  options.timeout = config.duration("gateway.timeout");
  options.grace = config.duration("gateway.grace");
  options.max_body = limits.value(domain::Limit::request_body);
  options.allow_undeclared_endpoints = config.flag("gateway.allow_undeclared_endpoints");
  options.rate = {static_cast<std::uint32_t>(config.number("gateway.rate_burst")),
                  config.duration("gateway.rate_interval")};
  options.extra_request_headers = config.list("gateway.extra_request_headers");
  gateway = std::make_unique<gateway::Gateway>(
      gateway::Dependencies{.principals = &control_plane->authenticator(),
                            .installs = &control_plane->install_configs(),
                            .runner = target,
                            .executions = &control_plane->executions(),
                            .idempotency = &control_plane->idempotency(),
                            .clock = clock.get(),
                            .random = &random,
                            .metrics = &metrics,
                            .log = log.named("gateway"),
                            .options = std::move(options)});
  return {};
}

void World::Parts::add_common_routes(httpd::Router& routes) {
  routes.add("GET", "/metrics", [this](httpd::Request) -> async::Task<httpd::Response> {
    httpd::Response response;
    response.body = metrics.serialize();
    response.set("content-type", std::string(telemetry::kPrometheusContentType));
    co_return response;
  });
  if (runner) {
    runner->add_health_routes(routes);
    return;
  }
  auto health = [this](httpd::Request) -> async::Task<httpd::Response> {
    Status database_there = co_await pool->run([this] { return control_plane->probe(); });
    co_return httpd::json_response(database_there ? 200 : 503,
                                   database_there ? R"({"ready":true})" : R"({"ready":false})");
  };
  routes.add("GET", "/healthz", health);
  routes.add("GET", "/readyz", health);
}

Result<std::shared_ptr<tls::ServerContext>> World::Parts::listener_tls() const {
  if (config.text("tls.certificate").empty()) return nullptr;
  return tls::ServerContext::load(
      {.certificate_chain = config.text("tls.certificate"),
       .private_key = config.text("tls.key"),
       .client_authorities = config.text("tls.client_ca"),
       .require_client_certificate = !config.text("tls.client_ca").empty()});
}

Status World::Parts::listen() {
  router = std::make_shared<httpd::Router>();
  add_common_routes(*router);
  if (roles.control_plane) control_plane->add_routes(*router);
  if (gateway) gateway->add_routes(*router);
  if (runner) runner->add_routes(*router);

  Endpoint endpoint = endpoint_of(config.text("server.listen"));
  httpd::ServerOptions options;
  options.address = endpoint.host;
  options.port = endpoint.port;
  TRY(options.tls, listener_tls());
  options.max_connections = config.number("server.max_connections");
  options.header_timeout = config.duration("server.header_timeout");
  options.body_timeout = config.duration("server.body_timeout");
  options.idle_timeout = config.duration("server.idle_timeout");
  options.spool_folder = (data / "uploads").string();
  TRY_VOID(private_folder(options.spool_folder));
  TRY(server, httpd::Server::start(std::move(options), router,
                                   {.threads = io.get(),
                                    .files = pool.get(),
                                    .clock = clock.get(),
                                    .random = &random,
                                    .metrics = &metrics,
                                    .log = log.named("httpd")}));
  const std::string& port_file = config.text("server.port_file");
  if (!port_file.empty()) {
    TRY_VOID(write_private_file(port_file, std::to_string(server->port()) + "\n"));
  }
  log.info("ready", {{"port", server->port()},
                     {"control_plane", roles.control_plane},
                     {"gateway", roles.gateway},
                     {"runner", roles.runner}});
  return {};
}

World::World(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
World::~World() = default;

Result<std::unique_ptr<World>> World::create(const config::Config& config) {
  auto parts = std::make_unique<Parts>(config);
  TRY_VOID(parts->build());
  return std::unique_ptr<World>(new World(std::move(parts)));
}

std::uint16_t World::port() const { return parts_->server->port(); }

void World::stop() {
  SteadyTime deadline = parts_->clock->steady() + parts_->config.duration("server.drain_time");
  parts_->log.info("stopping");
  parts_->server->drain(deadline);
  if (parts_->runner) parts_->runner->drain(deadline);
  if (parts_->engine) parts_->engine->stop(deadline);
  SteadyTime last = std::max(deadline, parts_->clock->steady() + std::chrono::seconds{5});
  if (parts_->control_plane) parts_->control_plane->stop(last);
  if (parts_->spool) parts_->spool->flush(last);
  parts_->pool->close();
  parts_->io->stop();
  parts_->log.info("stopped");
  parts_->sink->flush(last);
}

}  // namespace alga::app
