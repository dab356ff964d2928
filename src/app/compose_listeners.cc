#include <utility>

#include "app/world_parts.h"

namespace alga::app {

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

}  // namespace alga::app
