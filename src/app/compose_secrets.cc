#include <system_error>
#include <utility>
#include <vector>

#include "app/world_parts.h"
#include "vault/egress_transport.h"
#include "vault/http_broker.h"
#include "vault/migrating_keys.h"
#include "vault/transit_sealer.h"
#include "vault/vault_login.h"

namespace alga::app {
namespace {

/// Where agents and Docker put the token when nobody says otherwise, as in the reference.
constexpr std::string_view usual_token_file = "/run/secrets/alga_vault_token";
/// Where Docker and Kubernetes mount secrets.
constexpr std::string_view mounted_secrets = "/run/secrets";
constexpr std::chrono::seconds keeper_interval{5};
/// Every so many intervals the ring of envelope keys is read again.
constexpr int ring_turns = 6;

bool exists(std::string_view path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

/// The secret of a setting, read again at each login.
vault::Credential credential_of(const config::Config& config, std::string name) {
  return [&config, name = std::move(name)]() -> Result<Secret> {
    TRY(std::optional<Secret> value, config.secret(name));
    if (value) return std::move(*value);
    return fail(Kind::unavailable, "vault.no_token", name + " is empty");
  };
}

Result<std::unique_ptr<vault::VaultLogin>> token_login(const config::Config& config) {
  const std::string& reference = config.secret_reference("vault.token");
  if (reference.starts_with("file:")) {
    return std::make_unique<vault::TokenFile>(reference.substr(5));
  }
  if (reference.empty()) {
    if (exists(usual_token_file)) return std::make_unique<vault::TokenFile>(usual_token_file);
    return fail(Kind::invalid, "config.missing",
                "vault.address needs vault.token, or another vault.login");
  }
  TRY(std::optional<Secret> token, config.secret("vault.token"));
  return std::make_unique<vault::StaticToken>(token ? std::move(*token) : Secret{});
}

Result<std::unique_ptr<vault::VaultLogin>> login_of(const config::Config& config) {
  const std::string& kind = config.text("vault.login");
  const std::string& mount = config.text("vault.login_mount");
  if (kind == "approle") {
    return std::make_unique<vault::AppRoleLogin>(config.text("vault.role"),
                                                 credential_of(config, "vault.secret_id"),
                                                 mount.empty() ? "approle" : mount);
  }
  if (kind == "kubernetes") {
    return std::make_unique<vault::KubernetesLogin>(config.text("vault.role"),
                                                    mount.empty() ? "kubernetes" : mount,
                                                    config.text("vault.service_account_token"));
  }
  return token_login(config);
}

std::optional<std::string> joined_if_set(const config::Config& config, std::string_view name) {
  if (!config.is_set(name)) return std::nullopt;
  std::string text;
  for (const std::string& part : config.list(name)) text += (text.empty() ? "" : ",") + part;
  return text;
}

/// The reference's rules for what is set and what is not.
Result<vault::ChainOrder> chain_order(const config::Config& config) {
  std::optional<std::string> writer;
  if (config.is_set("secrets.write_provider")) writer = config.text("secrets.write_provider");
  return vault::parse_chain_order(joined_if_set(config, "secrets.read_chain"), writer);
}

}  // namespace

Status World::Parts::build_vault() {
  const std::string& address = config.text("vault.address");
  if (address.empty()) return {};
  SecretParts& parts = secret_parts;
  TRY(auto login, login_of(config));
  parts.transport = std::make_unique<vault::EgressTransport>(
      *client, egress::ClientTls{.authorities_file = config.text("tls.ca")});
  vault::VaultClient::Options options;
  options.address = address;
  options.name_space = config.text("vault.namespace");
  options.timeout = config.duration("vault.timeout");
  options.attempts = static_cast<int>(config.number("vault.attempts"));
  options.learn_lifetimes = true;
  options.metrics = &metrics;
  parts.client = std::make_unique<vault::VaultClient>(std::move(options), std::move(login),
                                                      *parts.transport, *clock);
  parts.transit = std::make_unique<vault::VaultTransit>(*parts.client);
  return {};
}

/// Environment, files and Vault in the configured order.
Status World::Parts::build_chain() {
  TRY(const vault::ChainOrder order, chain_order(config));
  const fs::path base = path_or("secrets.path", data / "secrets");
  const bool ours = config.text("secrets.path").empty();
  if (ours) TRY_VOID(private_folder(base));
  std::vector<vault::SecretChain::Provider> readers;
  vault::SecretChain::Provider writer;
  for (const std::string& name : order.readers) {
    vault::SecretChain::Provider provider;
    if (name == "env") {
      provider = std::make_shared<vault::EnvironmentSecrets>(config.text("secrets.env_prefix"));
    } else if (name == "filesystem") {
      provider = std::make_shared<vault::FileSecrets>(base, random);
    } else {
      TRY(provider, vault::VaultSecrets::make({.app_path = config.text("vault.app_path"),
                                               .tenant_path = config.text("vault.tenant_path")},
                                              *secret_parts.client, *clock));
    }
    readers.push_back(provider);
    if (name == order.writer) writer = provider;
    if (name == "filesystem" && ours && exists(mounted_secrets)) {
      readers.push_back(std::make_shared<vault::FileSecrets>(fs::path(mounted_secrets), random));
    }
  }
  // What no reader finds again would be made anew, and written over, at each start: nothing is
  // written then, and whatever needs to be made says `vault.read_only`.
  if (writer == nullptr) {
    log.warn("application secrets are read-only: the provider for writing is not read",
             {{"write_provider", order.writer}});
  }
  secrets = std::make_shared<vault::SecretChain>(std::move(readers), std::move(writer),
                                                 log.named("secrets"));
  return {};
}

/// What wraps the data keys of tenants. Keys that the other kind has wrapped still unwrap.
Status World::Parts::build_wrapping_keys() {
  if (config.text("secrets.wrapping_keys") == "local") {
    std::unique_ptr<domain::KeyProvider> former;
    if (secret_parts.transit && !config.text("vault.wrapping_key").empty()) former = vault_keys();
    TRY(auto present, vault::LocalKeyProvider::open(*secrets));
    keys = std::make_unique<vault::MigratingKeyProvider>(std::move(present), std::move(former));
    return {};
  }
  TRY(auto former, vault::LocalKeyProvider::open_existing(*secrets));
  keys = std::make_unique<vault::MigratingKeyProvider>(vault_keys(), std::move(former));
  return {};
}

std::unique_ptr<domain::KeyProvider> World::Parts::vault_keys() {
  return std::make_unique<vault::VaultKeyProvider>(
      *secret_parts.transit, config.text("vault.transit_mount"), config.text("vault.wrapping_key"));
}

std::string World::Parts::secrets_transport() const {
  // Whoever names a key of the transit engine, as the reference's environment does, means it.
  const bool transit = secret_parts.transit && !config.text("vault.transit_key").empty();
  if (transit && !config.is_set("secrets.transport")) return "vault-transit:v1";
  return config.text("secrets.transport");
}

Status World::Parts::build_sealing() {
  SecretParts& parts = secret_parts;
  parts.ring = std::make_unique<vault::EnvelopeKeys>(*secrets, *clock);
  const std::string transport = secrets_transport();
  const bool seals = roles.control_plane;
  if (seals && transport == "sealed:v1") {
    TRY_VOID(parts.ring->load_or_make());
  } else if (Status read = parts.ring->refresh(); !read) {
    log.warn("the keys of sealed:v1 envelopes cannot be read yet", {{"code", read.error().code}});
  }
  if (!seals) return {};
  // With the broker nothing is sealed; what asks for an envelope all the same gets a sealed one.
  if (transport == "broker-token:v1") TRY_VOID(parts.ring->load_or_make());
  if (transport == "vault-transit:v1") {
    parts.sealer = std::make_unique<vault::TransitSealer>(
        *parts.transit, config.text("vault.transit_mount"), config.text("vault.transit_key"));
  } else {
    parts.sealer = std::make_unique<vault::RingSealer>(*parts.ring);
  }
  return {};
}

/// A runner of another process than the control plane's redeems over mutual TLS.
void World::Parts::build_remote_broker() {
  const std::string& given = config.text("secrets.broker_url");
  const std::string& url = given.empty() ? config.text("control_plane.url") : given;
  if (url.empty() || config.text("tls.client_certificate").empty()) return;
  secret_parts.broker.open(std::make_unique<vault::HttpBroker>(
      vault::HttpBroker::Options{.url = url,
                                 .tls = {.authorities_file = config.text("tls.ca"),
                                         .certificate_file = config.text("tls.client_certificate"),
                                         .key_file = config.text("tls.client_key")},
                                 .timeout = config.duration("secrets.broker_timeout")},
      *client));
}

void World::Parts::open_own_broker() {
  if (roles.runner) secret_parts.broker.open(std::make_unique<InProcessBroker>(*control_plane));
}

Status World::Parts::build_secrets() {
  TRY_VOID(build_vault());
  TRY_VOID(build_chain());
  if (roles.control_plane) TRY_VOID(build_wrapping_keys());
  TRY_VOID(build_sealing());
  if (roles.runner && !roles.control_plane) build_remote_broker();
  const bool rings =
      secret_parts.sealer && secret_parts.sealer->algorithm() == domain::EnvelopeAlgorithm::sealed;
  secret_parts.keeper =
      std::make_unique<vault::Keeper>(keeper_interval, [this, rings, turn = 0] mutable {
        if (secret_parts.client) (void)secret_parts.client->tend();
        if (rings && ++turn % ring_turns == 0) (void)secret_parts.ring->refresh();
      });
  return {};
}

}  // namespace alga::app
