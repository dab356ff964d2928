#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

#include "app/world_parts.h"
#include "telemetry/process_metrics.h"

namespace alga::app {
namespace {

/// What other roles ask, not people: it leaves the public listener when there is an internal one.
bool is_internal(std::string_view pattern) {
  constexpr std::array<std::string_view, 4> exact{
      "/v1/execute", "/warmup", "/api/installs/lookup-by-host", "/api/installs/validate"};
  return pattern.starts_with("/internal/") || pattern.starts_with("/api/internal/") ||
         std::ranges::find(exact, pattern) != exact.end();
}

/// Pages under the address that gateways ask for (gateway/page_relay.h); people ask for them, too.
bool is_relayed(std::string_view pattern) { return pattern.starts_with("/runner/ext-ui/"); }

/// What whoever watches the process asks.
bool is_operational(std::string_view pattern) {
  return pattern == "/metrics" || pattern == "/healthz" || pattern == "/readyz";
}

/// What the runner of this process says of itself; without one, that the process lives.
async::Task<httpd::Response> health_of(std::shared_ptr<const httpd::Router> own,
                                       std::string_view path, httpd::Request request) {
  const auto match = own->match("GET", path);
  if (match.handler == nullptr) co_return httpd::json_response(200, R"({"alive":true})");
  co_return co_await (*match.handler)(std::move(request));
}

async::Task<httpd::Response> readiness(control_plane::ControlPlane* control_plane,
                                       async::BlockingPool* pool,
                                       std::shared_ptr<const httpd::Router> own,
                                       httpd::Request request) {
  if (control_plane != nullptr) {
    const Status there = co_await pool->run([control_plane] { return control_plane->probe(); });
    if (!there) co_return httpd::json_response(503, R"({"ready":false,"database":false})");
  }
  if (own->match("GET", "/readyz").handler == nullptr) {
    co_return httpd::json_response(200, R"({"ready":true})");
  }
  co_return co_await health_of(own, "/readyz", std::move(request));
}

async::Task<httpd::Response> metrics_of(telemetry::PrometheusMetrics* metrics) {
  httpd::Response response;
  response.body = metrics->serialize();
  response.set("content-type", std::string(telemetry::kPrometheusContentType));
  co_return response;
}

}  // namespace

void World::Parts::add_common_routes(httpd::Router& routes) {
  routes.add("GET", "/metrics", [this](httpd::Request) { return metrics_of(&metrics); });
  auto own = std::make_shared<httpd::Router>();
  if (runner) runner->add_health_routes(*own);
  // A process whose database is away lives, and needs no restart.
  routes.add("GET", "/healthz", [own](httpd::Request request) {
    return health_of(own, "/healthz", std::move(request));
  });
  // But it is ready for nothing that needs the database.
  routes.add("GET", "/readyz", [this, own](httpd::Request request) {
    return readiness(control_plane.get(), pool.get(), own, std::move(request));
  });
}

void World::Parts::add_routes(httpd::Router& routes) {
  add_common_routes(routes);
  if (roles.control_plane) control_plane->add_routes(routes);
  if (gateway) gateway->add_routes(routes);
  if (page_relay) page_relay->add_routes(routes);
  if (runner) runner->add_routes(routes);
  if (ui) ui->add_routes(routes);
}

Result<std::shared_ptr<tls::ServerContext>> World::Parts::listener_tls(
    const std::string& certificate, const std::string& key, const std::string& client_ca) {
  if (certificate.empty()) return nullptr;
  return tls::ServerContext::load({.certificate_chain = certificate,
                                   .private_key = key,
                                   .client_authorities = client_ca,
                                   .require_client_certificate = !client_ca.empty()});
}

Result<std::unique_ptr<httpd::Server>> World::Parts::open_listener(
    std::string_view setting, std::shared_ptr<tls::ServerContext> tls, httpd::Router::Takes takes) {
  const std::string& address = config.text(setting);
  auto routes = std::make_shared<httpd::Router>(std::move(takes));
  add_routes(*routes);
  Endpoint endpoint = endpoint_of(address);
  httpd::ServerOptions options;
  options.address = endpoint.host;
  options.port = endpoint.port;
  options.tls = std::move(tls);
  for (const std::string& text : config.list("server.trusted_proxies")) {
    const auto network = domain::parse_network(text);
    if (!network) {
      return fail(Kind::invalid, "config.bad_value",
                  "server.trusted_proxies: " + text + " is no network such as 10.0.0.0/8");
    }
    options.trusted_proxies.push_back(*network);
  }
  options.max_connections = config.number("server.max_connections");
  options.header_timeout = config.duration("server.header_timeout");
  options.body_timeout = config.duration("server.body_timeout");
  options.idle_timeout = config.duration("server.idle_timeout");
  options.spool_folder = (data / "uploads").string();
  auto started = httpd::Server::start(std::move(options), std::move(routes),
                                      {.threads = io.get(),
                                       .files = pool.get(),
                                       .clock = clock.get(),
                                       .random = &random,
                                       .metrics = &metrics,
                                       .log = log.named("httpd")});
  if (!started) {
    return fail(started.error().kind, started.error().code,
                std::string(setting) + " " + address + ": " + started.error().message);
  }
  return started;
}

Status World::Parts::write_port(std::string_view setting, const httpd::Server& listener) const {
  const std::string& file = config.text(setting);
  if (file.empty()) return {};
  return write_private_file(file, std::to_string(listener.port()) + "\n");
}

void World::Parts::say_how_to_log_in() const {
  Endpoint own = endpoint_of(config.text("server.listen"));
  if (own.host == "0.0.0.0") own.host = "127.0.0.1";
  if (own.host == "::") own.host = "::1";
  if (own.host.contains(':')) own.host = "[" + own.host + "]";
  const bool encrypted = !config.text("tls.certificate").empty();
  std::string url = config.text("server.public_url");
  // Without TLS a proxy is in front, which need not let the API through.
  if (!encrypted || url.empty()) {
    url = (encrypted ? "https://" : "http://") + own.host + ":" + std::to_string(server->port());
  }
  const std::string& file = config.text("server.bootstrap_token_file");
  std::fprintf(stderr, "log in: %salgad admin whoami --server %s --token-file %s\n",
               file.empty() ? "put the token into a file and run " : "", url.c_str(),
               file.empty() ? "FILE" : fs::absolute(file).c_str());
}

Status World::Parts::listen() {
  TRY_VOID(private_folder(data / "uploads"));
  const std::string& internal = config.text("server.internal_listen");
  const std::string& watched = config.text("server.metrics_listen");
  const bool apart = !internal.empty();
  const bool watched_apart = !watched.empty();
  if (apart) {
    TRY(auto tls,
        listener_tls(config.text("tls.internal_certificate"), config.text("tls.internal_key"),
                     config.text("tls.internal_client_ca")));
    TRY(internal_server, open_listener("server.internal_listen", std::move(tls),
                                       [watched_apart](std::string_view pattern) {
                                         return is_internal(pattern) || is_relayed(pattern) ||
                                                (is_operational(pattern) && !watched_apart);
                                       }));
    TRY_VOID(write_port("server.internal_port_file", *internal_server));
  }
  if (watched_apart) {
    TRY(metrics_server, open_listener("server.metrics_listen", nullptr, &is_operational));
  }
  TRY(auto tls, listener_tls(config.text("tls.certificate"), config.text("tls.key"),
                             config.text("tls.client_ca")));
  TRY(server, open_listener("server.listen", std::move(tls),
                            [apart, watched_apart](std::string_view pattern) {
                              return !(apart && is_internal(pattern)) &&
                                     !(watched_apart && is_operational(pattern));
                            }));
  metrics.gauge("alga_startup_seconds", "From the start of the process until it was ready to serve")
      .set(telemetry::process_age().count());
  if (first_start) say_how_to_log_in();
  // Last: whoever waits for this file finds every listener open.
  TRY_VOID(write_port("server.port_file", *server));
  log.info("ready", {{"port", server->port()},
                     {"internal_port", internal_server ? internal_server->port() : 0},
                     {"metrics_port", metrics_server ? metrics_server->port() : 0},
                     {"control_plane", roles.control_plane},
                     {"gateway", roles.gateway},
                     {"runner", roles.runner}});
  return {};
}

void World::Parts::drain_listeners(SteadyTime deadline) {
  server->drain(deadline);
  if (internal_server) internal_server->drain(deadline);
}

}  // namespace alga::app
