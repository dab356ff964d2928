#include <utility>

#include "app/world_parts.h"

namespace alga::app {

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

}  // namespace alga::app
