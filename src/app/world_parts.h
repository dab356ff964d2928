#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "app/ground.h"
#include "app/late_ports.h"
#include "app/secret_parts.h"
#include "app/warm_up_runner.h"
#include "app/world.h"
#include "async/blocking_pool.h"
#include "async/io_threads.h"
#include "blob/bundle_cache.h"
#include "blob/egress_transport.h"
#include "control_plane/control_plane.h"
#include "control_plane/http_warm_up_target.h"
#include "domain/grant.h"
#include "egress/curl_egress.h"
#include "egress/curl_loop.h"
#include "egress/http_client.h"
#include "engine/engine.h"
#include "gateway/gateway.h"
#include "gateway/http_install_configs.h"
#include "gateway/http_runner.h"
#include "gateway/oidc_authenticator.h"
#include "gateway/page_relay.h"
#include "gateway/token_authenticator.h"
#include "httpd/server.h"
#include "runner/control_plane_link.h"
#include "runner/runner.h"
#include "runner/static_ui.h"
#include "runner/storage_client.h"
#include "sql/database.h"
#include "telemetry/execution_spans.h"
#include "telemetry/json_log.h"
#include "telemetry/logged_records.h"
#include "telemetry/otlp_exporter.h"
#include "telemetry/prometheus_metrics.h"
#include "telemetry/record_shipper.h"
#include "telemetry/record_spool.h"
#include "tls/server_context.h"
#include "vault/envelope_opener.h"
#include "vault/key_ring.h"
#include "vault/providers.h"

namespace alga::app {

namespace fs = std::filesystem;

/// Everything that a process holds, from the ground up; one `compose_*.cc` builds each group.
struct World::Parts {
  explicit Parts(const config::Config& from) : config(from), roles(Roles::of(from)) {}

  Status build();
  Status build_ground();
  Status build_secrets();
  Status build_vault();
  Status build_chain();
  Status build_wrapping_keys();
  Status build_sealing();
  [[nodiscard]] std::unique_ptr<domain::KeyProvider> vault_keys();
  void build_remote_broker();
  void open_own_broker();
  /// The algorithm of the envelopes that this control plane makes.
  [[nodiscard]] std::string secrets_transport() const;
  void build_tracing();
  Status build_store();
  Status build_database();
  /// OIDC and the host application's session tokens.
  Status build_people();
  Status build_control_plane();
  /// The runners that the control plane tells what was published.
  [[nodiscard]] Result<std::vector<domain::WarmUpTarget*>> build_warm_up();
  Status build_egress();
  Status build_engine();
  void build_opener(const domain::EnvelopePolicy& envelopes);
  Status build_runner();
  Status build_lone_runner();
  Status build_gateway();
  /// The pages of extensions.
  Status build_ui();
  Status listen();
  /// One line of standard error, after the start that made the bootstrap token.
  void say_how_to_log_in() const;
  /// Reports what this process depends on and does not find, in the background.
  void look_around();
  void add_common_routes(httpd::Router& router);
  /// Every route of every role; the router of each listener takes its share.
  void add_routes(httpd::Router& router);
  void refresh_grant_keys();
  void trust_broker_keys(std::vector<crypto::PublicKey> trusted);
  /// Null without a certificate: plain HTTP.
  [[nodiscard]] static Result<std::shared_ptr<tls::ServerContext>> listener_tls(
      const std::string& certificate, const std::string& key, const std::string& client_ca);
  [[nodiscard]] Result<std::unique_ptr<httpd::Server>> open_listener(
      std::string_view setting, std::shared_ptr<tls::ServerContext> tls,
      httpd::Router::Takes takes);
  /// Writes the bound port into the file that a setting names, if it names one.
  [[nodiscard]] Status write_port(std::string_view setting, const httpd::Server& listener) const;
  /// Those that take work; the one for metrics answers until the end.
  void drain_listeners(SteadyTime deadline);

  /// How this process shows itself to other roles, and whom it believes.
  [[nodiscard]] egress::ClientTls role_tls() const;
  /// Reads the secret of a setting anew each time: its first line; empty when it is not set.
  [[nodiscard]] std::function<Result<Secret>()> secret_setting(std::string name) const;
  [[nodiscard]] runner::ControlPlaneLink link_to(const std::string& url) const;

  /// The folder of a setting, else the given one.
  [[nodiscard]] fs::path path_or(std::string_view name, const fs::path& otherwise) const;

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
  std::unique_ptr<telemetry::OtlpExporter> spans;  ///< null: no traces
  std::unique_ptr<egress::CurlEgress> egress;
  std::shared_ptr<vault::SecretChain> secrets;
  std::unique_ptr<domain::KeyProvider> keys;
  SecretParts secret_parts;
  std::unique_ptr<blob::ObjectTransport> object_transport;
  std::unique_ptr<domain::BundleStore> store;
  std::unique_ptr<sql::Database> database;
  std::unique_ptr<domain::Authenticator> oidc, sessions, people;
  std::unique_ptr<telemetry::RecordSpool> spool;
  std::unique_ptr<telemetry::LoggedRecords> logged_records;
  std::unique_ptr<domain::GrantVerifier> grants;
  std::unique_ptr<engine::UiProxy> ui_proxy;
  std::unique_ptr<vault::EnvelopeOpener> opener;
  /// Envelopes that Vault or the broker opens, so that a slow one holds nobody else up.
  std::unique_ptr<async::BlockingPool> opening_pool;
  std::unique_ptr<blob::BundleCache> bundles;
  // The control plane compiles through the engine, the engine stores through the control plane.
  std::unique_ptr<StorageDoor> storage_door;
  std::unique_ptr<RecordsDoor> records_door;
  std::unique_ptr<telemetry::ExecutionSpans> traced_records;
  std::unique_ptr<engine::Engine> engine;
  std::unique_ptr<runner::RunnerRole> runner;
  std::vector<std::unique_ptr<domain::WarmUpTarget>> warm_up;
  std::unique_ptr<control_plane::ControlPlane> control_plane;
  bool first_start = false;  ///< the control plane has made its bootstrap token
  std::unique_ptr<runner::StorageClient> remote_storage;
  std::unique_ptr<telemetry::RecordShipper> shipper;
  std::unique_ptr<runner::GrantKeyWatch> grant_watch;
  std::unique_ptr<gateway::HttpInstallConfigs> remote_installs;
  std::unique_ptr<domain::InstallDirectory> install_directory;
  std::unique_ptr<runner::StaticUi> ui;
  std::unique_ptr<gateway::HttpRunner> remote_runner;
  std::unique_ptr<gateway::PageRelay> page_relay;
  std::unique_ptr<gateway::Gateway> gateway;
  /// Public; for other roles; for metrics and health. The last two may be absent.
  std::unique_ptr<httpd::Server> server, internal_server, metrics_server;
};

}  // namespace alga::app
