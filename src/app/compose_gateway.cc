#include <algorithm>
#include <utility>

#include "app/world_parts.h"
#include "base/bytes.h"

namespace alga::app {
namespace {

constexpr crypto::JwsAlgorithm all_algorithms[] = {
    crypto::JwsAlgorithm::eddsa, crypto::JwsAlgorithm::es256, crypto::JwsAlgorithm::rs256};

}  // namespace

Status World::Parts::build_people() {
  gateway::ClaimNames claims{.tenant = config.text("gateway.oidc.tenant_claim"),
                             .roles = config.text("gateway.oidc.roles_claim"),
                             .client = config.text("gateway.oidc.client_claim"),
                             .permissions = config.text("gateway.oidc.permissions_claim")};
  if (!config.text("gateway.oidc.issuer").empty()) {
    gateway::OidcAuthenticator::Options options{.issuer = config.text("gateway.oidc.issuer"),
                                                .audience = config.text("gateway.oidc.audience"),
                                                .jwks_url = config.text("gateway.oidc.jwks_url"),
                                                .algorithms = {},
                                                .claims = claims};
    for (crypto::JwsAlgorithm algorithm : all_algorithms) {
      const auto& accepted = config.list("gateway.oidc.algorithms");
      if (std::ranges::find(accepted, crypto::name(algorithm)) != accepted.end()) {
        options.algorithms.push_back(algorithm);
      }
    }
    oidc = std::make_unique<gateway::OidcAuthenticator>(
        std::move(options),
        gateway::fetch_over(*client, {.authorities_file = config.text("tls.ca")}), *clock,
        log.named("oidc"));
  }
  if (config.is_set("gateway.session.key")) {
    auto key = [this]() -> Result<Secret> {
      TRY(std::optional<Secret> text, config.secret("gateway.session.key"));
      std::optional<std::string> bytes = base64_decode(text ? trim(text->reveal()) : "");
      if (!bytes) return fail(Kind::unavailable, "session.bad_key", "the key is not base64");
      return Secret(std::move(*bytes));
    };
    TRY(Secret now, key());
    if (now.reveal().size() != gateway::SessionTokens::key_bytes) {
      return fail(Kind::invalid, "session.bad_key",
                  "gateway.session.key must be 32 bytes in base64");
    }
    sessions = std::make_unique<gateway::SessionTokens>(std::move(key), claims, *clock);
  }
  people = std::make_unique<gateway::TokenAuthenticator>(
      gateway::TokenAuthenticator::Authorities{.oidc = oidc.get(), .sessions = sessions.get()});
  return {};
}

Status World::Parts::build_gateway() {
  domain::Runner* target = runner.get();
  if (!config.text("runner.url").empty()) {
    remote_runner = std::make_unique<gateway::HttpRunner>(
        gateway::HttpRunner::Options{.url = config.text("runner.url"),
                                     .service_token = secret_setting("runner.service_token"),
                                     .tls = role_tls(),
                                     .grace = config.duration("gateway.grace")},
        *client);
    target = remote_runner.get();
  }
  if (remote_runner && !roles.runner) {
    std::string url = config.text("runner.url");
    while (url.ends_with('/')) url.pop_back();
    page_relay = std::make_unique<gateway::PageRelay>(
        gateway::PageRelay::Options{.url = std::move(url),
                                    .tls = role_tls(),
                                    .max_bytes = config.size("runner.ui.max_file_bytes")},
        *client);
  }
  if (target == nullptr) {
    return fail(Kind::invalid, "config.missing", "a gateway without runner needs runner.url");
  }
  domain::InstallConfigs* installs = &control_plane->install_configs();
  if (!roles.control_plane) {
    // The keys of secrets and grants stay with the control plane: a gateway only asks.
    remote_installs = std::make_unique<gateway::HttpInstallConfigs>(
        gateway::HttpInstallConfigs::Options{.url = config.text("control_plane.url"),
                                             .token = secret_setting("control_plane.token"),
                                             .tls = role_tls(),
                                             .lease = config.duration("control_plane.lease")},
        *client, *clock, control_plane->change_feed());
    installs = remote_installs.get();
  }
  gateway::Options options;
  options.allowed_origins = config.list("gateway.allowed_origins");
  options.timeout = config.duration("gateway.timeout");
  options.grace = config.duration("gateway.grace");
  options.max_body = limits.value(domain::Limit::request_body);
  options.allow_undeclared_endpoints = config.flag("gateway.allow_undeclared_endpoints");
  options.rate = {static_cast<std::uint32_t>(config.number("gateway.rate_burst")),
                  config.duration("gateway.rate_interval")};
  options.trace_sampling = config.fraction("telemetry.trace_sample");
  options.max_depth = static_cast<std::uint32_t>(config.number("gateway.max_depth"));
  options.extra_request_headers = config.list("gateway.extra_request_headers");
  gateway = std::make_unique<gateway::Gateway>(
      gateway::Dependencies{.principals = &control_plane->authenticator(),
                            .installs = installs,
                            .runner = target,
                            .executions = &control_plane->executions(),
                            .idempotency = &control_plane->idempotency(),
                            .spans = spans.get(),
                            .clock = clock.get(),
                            .random = &random,
                            .metrics = &metrics,
                            .log = log.named("gateway"),
                            .options = std::move(options)});
  return {};
}

}  // namespace alga::app
