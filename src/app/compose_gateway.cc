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
                             .client = config.text("gateway.oidc.client_claim")};
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
  if (!config.text("gateway.session.key").empty()) {
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
