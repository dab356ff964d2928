#include "config/rules.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

namespace alga::config {
namespace {

class Rules {
 public:
  explicit Rules(const Config& config) : config_(config) {}

  std::vector<Fault> run() {
    for (std::string_view pair : {"tls.", "tls.internal_", "tls.client_"}) {
      std::string certificate = std::string(pair) + "certificate";
      std::string key = std::string(pair) + "key";
      need_both(certificate, key);
      need_both(key, certificate);
    }
    if (filled("tls.client_ca")) need("tls.certificate", "tls.client_ca is set");
    if (filled("tls.internal_client_ca")) {
      need("tls.internal_certificate", "tls.internal_client_ca is set");
    }
    check_listeners();
    check_bundles();
    check_vault();
    check_roles();
    if (config_.flag("secrets.allow_inline") && !config_.flag("server.development")) {
      report("secrets.allow_inline", "needs server.development = true");
    }
    if (filled("gateway.oidc.issuer")) need("gateway.oidc.audience", "gateway.oidc.issuer is set");
    return std::move(faults_);
  }

 private:
  bool filled(std::string_view name) const { return !config_.text(name).empty(); }
  bool has_role(std::string_view role) const {
    const auto& roles = config_.list("server.roles");
    return std::ranges::find(roles, role) != roles.end() ||
           std::ranges::find(roles, "all") != roles.end();
  }

  void report(std::string_view setting, std::string message) {
    faults_.push_back(
        {"configuration", std::string(setting), "config.incomplete", std::move(message)});
  }
  void need(std::string_view setting, const std::string& because) {
    if (!filled(setting)) report(setting, "is needed because " + because);
  }
  void need_both(const std::string& one, const std::string& other) {
    if (filled(one)) need(other, one + " is set");
  }

  /// Two listeners cannot have one port, and what only the internal one uses needs it.
  void check_listeners() {
    constexpr std::array<std::string_view, 3> listeners{"server.listen", "server.internal_listen",
                                                        "server.metrics_listen"};
    for (std::size_t i = 0; i < listeners.size(); ++i) {
      const std::string& address = config_.text(listeners[i]);
      if (address.empty() || address.ends_with(":0")) continue;
      for (std::size_t other = 0; other < i; ++other) {
        if (config_.text(listeners[other]) == address) {
          report(listeners[i], "is the address of " + std::string(listeners[other]) + " too");
        }
      }
    }
    if (!filled("server.internal_listen")) {
      need_for("server.internal_listen", "tls.internal_certificate");
      need_for("server.internal_listen", "server.internal_port_file");
    }
  }
  void need_for(std::string_view setting, std::string_view user) {
    if (filled(user)) need(setting, std::string(user) + " is set");
  }

  void check_bundles() {
    const std::string& store = config_.text("bundles.store");
    if (store == "http") need("bundles.url", "bundles.store is \"http\"");
    if (store != "s3") return;
    need("bundles.s3.endpoint", "bundles.store is \"s3\"");
    need("bundles.s3.bucket", "bundles.store is \"s3\"");
  }

  void check_vault() {
    const auto& chain = config_.list("secrets.read_chain");
    if (std::ranges::find(chain, "vault") != chain.end()) {
      need("vault.address", "secrets.read_chain names vault");
    }
    if (config_.text("secrets.write_provider") == "vault") {
      need("vault.address", "secrets.write_provider is \"vault\"");
    }
    if (config_.text("secrets.transport") == "vault-transit:v1") {
      need("vault.address", "secrets.transport is \"vault-transit:v1\"");
      need("vault.transit_key", "secrets.transport is \"vault-transit:v1\"");
    }
    if (config_.text("secrets.wrapping_keys") == "vault") {
      need("vault.address", "secrets.wrapping_keys is \"vault\"");
      need("vault.wrapping_key", "secrets.wrapping_keys is \"vault\"");
    }
    if (filled("vault.address") && config_.text("vault.login") != "token") {
      need("vault.role", "vault.login is \"" + config_.text("vault.login") + "\"");
    }
  }

  void check_roles() {
    const auto& roles = config_.list("server.roles");
    if (roles.empty()) report("server.roles", "must name at least one role");
    if (roles.size() > 1 && std::ranges::find(roles, "all") != roles.end()) {
      report("server.roles",
             "names \"all\" beside other roles; name all of them, or \"all\" alone");
    }
    bool control_plane = has_role("control-plane");
    if (has_role("gateway") && !control_plane) {
      need("control_plane.url", "the gateway runs without a control plane in this process");
      need("database.url", "the gateway shares the database of a control plane elsewhere");
    }
    if (config_.number("engine.compile_processes") == 0) {
      if (control_plane) report("engine.compile_processes", "a control plane compiles at publish");
      if (config_.list("engine.artefact_keys").empty()) {
        report("engine.artefact_keys", "is needed because engine.compile_processes is 0");
      }
    }
    const bool believes_grants = config_.text("runner.trust") == "grant";
    if (has_role("runner") && !control_plane && believes_grants &&
        config_.list("runner.grant_keys").empty()) {
      need("control_plane.url",
           "the runner asks there for the keys of grants, unless runner.grant_keys names them");
    }
    if (has_role("gateway") && !has_role("runner")) {
      need("runner.url", "the gateway runs without a runner in this process");
    }
  }

  const Config& config_;
  std::vector<Fault> faults_;
};

}  // namespace

std::vector<Fault> check_rules(const Config& config) { return Rules(config).run(); }

}  // namespace alga::config
