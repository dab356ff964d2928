#include "config/rules.h"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace alga::config {
namespace {

/// The configuration as the rules see it: it remembers whether somebody asked for what is doubtful.
class Rules {
 public:
  Rules(const Config& config, const Names& doubtful) : config_(config), doubtful_(doubtful) {}

  std::vector<Fault> run() {
    check_tls();
    check_listeners();
    check_bundles();
    check_secrets();
    check_vault();
    check_roles();
    check_callers();
    check_compilers();
    check_gateway();
    return std::move(faults_);
  }

 private:
  using About = std::initializer_list<std::string_view>;

  /// One rule. What it reports does not count when it looked at a doubtful setting.
  template <class Check>
  void rule(Check check) {
    const std::size_t before = faults_.size();
    in_doubt_ = false;
    check();
    if (in_doubt_) faults_.resize(before);
  }

  std::string_view seen(std::string_view name) {
    in_doubt_ |= doubtful_.contains(name);
    return name;
  }
  const std::string& text(std::string_view name) { return config_.text(seen(name)); }
  const std::vector<std::string>& list(std::string_view name) { return config_.list(seen(name)); }
  bool flag(std::string_view name) { return config_.flag(seen(name)); }
  bool filled(std::string_view name) { return !text(name).empty(); }
  bool has_secret(std::string_view name) { return !config_.secret_reference(seen(name)).empty(); }
  bool has_role(std::string_view role) {
    const auto& roles = list("server.roles");
    return std::ranges::find(roles, role) != roles.end() ||
           std::ranges::find(roles, "all") != roles.end();
  }

  /// `about` names the settings that make it wrong, beside `setting` itself.
  void report(std::string_view setting, std::string message, About about) {
    std::vector<std::string_view> names{setting};
    names.insert(names.end(), about.begin(), about.end());
    faults_.push_back(
        {places(names), std::string(setting), "config.incomplete", std::move(message)});
  }
  /// Each place once; what nobody set has none.
  std::string places(const std::vector<std::string_view>& names) {
    std::vector<std::string> found;
    for (std::string_view name : names) {
      const std::string& place = config_.source(seen(name));
      if (!place.empty() && std::ranges::find(found, place) == found.end()) found.push_back(place);
    }
    std::string out;
    for (const std::string& place : found) out += (out.empty() ? "" : " and ") + place;
    return out.empty() ? "configuration" : out;
  }
  void need(std::string_view setting, const std::string& because, About about) {
    if (!filled(setting)) report(setting, "is needed because " + because, about);
  }
  void need_secret(std::string_view setting, const std::string& because, About about) {
    if (!has_secret(setting)) report(setting, "is needed because " + because, about);
  }
  /// `setting`, when `user` is set.
  void need_for(std::string_view setting, std::string_view user) {
    rule([&] {
      if (filled(user)) need(setting, std::string(user) + " is set", {user});
    });
  }
  /// `setting`, when `choice` is `value`.
  void need_with(std::string_view setting, std::string_view choice, std::string_view value) {
    rule([&] {
      if (text(choice) != value) return;
      need(setting, std::string(choice) + " is \"" + std::string(value) + "\"", {choice});
    });
  }

  void check_tls() {
    for (std::string_view pair : {"tls.", "tls.internal_", "tls.client_"}) {
      const std::string certificate = std::string(pair) + "certificate";
      const std::string key = std::string(pair) + "key";
      need_for(key, certificate);
      need_for(certificate, key);
    }
    need_for("tls.certificate", "tls.client_ca");
    need_for("tls.internal_certificate", "tls.internal_client_ca");
  }

  /// Two listeners cannot have one port, and what only the internal one uses needs it.
  void check_listeners() {
    rule([&] {
      if (!filled("server.listen")) report("server.listen", "must not be empty", {});
    });
    constexpr std::array<std::string_view, 3> listeners{"server.listen", "server.internal_listen",
                                                        "server.metrics_listen"};
    for (std::size_t i = 0; i < listeners.size(); ++i) {
      for (std::size_t other = 0; other < i; ++other) {
        rule([&] { check_ports(listeners[i], listeners[other]); });
      }
    }
    need_for("server.internal_listen", "tls.internal_certificate");
    need_for("server.internal_listen", "server.internal_port_file");
  }

  struct Address {
    std::string host, port;
  };
  Address address(std::string_view name) {
    const std::string& given = text(name);
    const std::size_t colon = given.rfind(':');
    if (colon == std::string::npos) return {};
    std::string host = given.substr(0, colon);
    if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
    if (host == "localhost") host = "127.0.0.1";
    return {std::move(host), given.substr(colon + 1)};
  }

  void check_ports(std::string_view one, std::string_view other) {
    const Address mine = address(one);
    const Address theirs = address(other);
    if (mine.port.empty() || mine.port == "0" || mine.port != theirs.port) return;
    const bool one_family = mine.host.contains(':') == theirs.host.contains(':');
    const auto takes_all = [](const Address& a) { return a.host == "0.0.0.0" || a.host == "::"; };
    if (mine.host == theirs.host) {
      report(one, "is the address of " + std::string(other) + " too", {other});
    } else if (one_family && (takes_all(mine) || takes_all(theirs))) {
      report(one, "has the port of " + std::string(other) + ", and one of them takes every address",
             {other});
    }
  }

  void check_bundles() {
    need_with("bundles.url", "bundles.store", "http");
    need_with("bundles.s3.endpoint", "bundles.store", "s3");
    need_with("bundles.s3.bucket", "bundles.store", "s3");
    for (std::string_view key : {"bundles.s3.access_key", "bundles.s3.secret_key"}) {
      rule([&] {
        if (text("bundles.store") != "s3") return;
        need_secret(key, "bundles.store is \"s3\"", {"bundles.store"});
      });
    }
  }

  void check_secrets() {
    rule([&] {
      if (flag("secrets.allow_inline") && !flag("server.development")) {
        report("secrets.allow_inline", "needs server.development = true", {"server.development"});
      }
    });
    rule([&] {
      std::vector<std::string> names = list("secrets.read_chain");
      if (names.empty()) report("secrets.read_chain", "must name at least one provider", {});
      std::ranges::sort(names);
      if (std::ranges::adjacent_find(names) != names.end()) {
        report("secrets.read_chain", "names a provider twice", {});
      }
    });
  }

  void check_vault() {
    rule([&] {
      const auto& chain = list("secrets.read_chain");
      if (std::ranges::find(chain, "vault") == chain.end()) return;
      need("vault.address", "secrets.read_chain names vault", {"secrets.read_chain"});
    });
    need_with("vault.address", "secrets.write_provider", "vault");
    for (std::string_view setting : {"vault.address", "vault.transit_key"}) {
      need_with(setting, "secrets.transport", "vault-transit:v1");
    }
    for (std::string_view setting : {"vault.address", "vault.wrapping_key"}) {
      need_with(setting, "secrets.wrapping_keys", "vault");
    }
    rule([&] {
      const std::string& login = text("vault.login");
      if (!filled("vault.address") || login == "token") return;
      need("vault.role", "vault.login is \"" + login + "\"", {"vault.login"});
    });
    rule([&] {
      if (!filled("vault.address") || text("vault.login") != "approle") return;
      need_secret("vault.secret_id", "vault.login is \"approle\"", {"vault.login"});
    });
  }

  void check_roles() {
    rule([&] {
      const auto& roles = list("server.roles");
      if (roles.empty()) report("server.roles", "must name at least one role", {});
      if (roles.size() > 1 && std::ranges::find(roles, "all") != roles.end()) {
        report("server.roles",
               "names \"all\" beside other roles; name all of them, or \"all\" alone", {});
      }
    });
    rule([&] {
      if (!has_role("gateway") || has_role("control-plane")) return;
      need("control_plane.url", "the gateway runs without a control plane in this process",
           {"server.roles"});
    });
    rule([&] {
      if (!has_role("gateway") || has_role("control-plane")) return;
      need("database.url", "the gateway shares the database of a control plane elsewhere",
           {"server.roles"});
    });
    rule([&] {
      if (!has_role("gateway") || has_role("runner")) return;
      need("runner.url", "the gateway runs without a runner in this process", {"server.roles"});
    });
    rule([&] {
      if (!has_role("runner") || has_role("control-plane")) return;
      if (has_role("gateway") || text("runner.trust") != "grant") return;
      if (!list("runner.grant_keys").empty()) return;
      need("control_plane.url",
           "the runner asks there for the keys of grants, unless runner.grant_keys names them",
           {"server.roles"});
    });
  }

  /// Grants say what may run, and somebody has to say who may ask.
  void check_callers() {
    rule([&] {
      if (!has_role("runner") || has_role("gateway") || text("runner.trust") != "grant") return;
      if (has_secret("runner.service_token") || !list("runner.client_names").empty()) return;
      const bool apart = filled("server.internal_listen");
      if (filled(apart ? "tls.internal_client_ca" : "tls.client_ca")) return;
      const std::string_view listener = apart ? "server.internal_listen" : "server.listen";
      const std::string host = address(listener).host;
      if (host.starts_with("127.") || host == "::1") return;
      report("runner.service_token",
             "or runner.client_names must say who may call this runner, because " +
                 std::string(listener) + " is no address of this machine alone",
             {listener});
    });
  }

  void check_compilers() {
    constexpr std::string_view compilers = "engine.compile_processes";
    rule([&] {
      if (!has_role("runner") || has_role("control-plane")) return;
      if (text("runner.trust") != "grant" || config_.is_set(seen(compilers))) return;
      report(compilers,
             "must be set for a runner without its control plane: 0, with the key of who compiles "
             "in engine.artefact_keys, or how many compilers it runs under a key of its own",
             {"server.roles"});
    });
    rule([&] {
      if (config_.number(seen(compilers)) != 0 || !has_role("control-plane")) return;
      report(compilers, "a control plane compiles at publish", {"server.roles"});
    });
    rule([&] {
      if (config_.number(seen(compilers)) != 0 || !list("engine.artefact_keys").empty()) return;
      report("engine.artefact_keys", "is needed because engine.compile_processes is 0",
             {compilers});
    });
  }

  void check_gateway() {
    need_for("gateway.oidc.audience", "gateway.oidc.issuer");
    rule([&] {
      if (!filled("gateway.oidc.issuer") || !list("gateway.oidc.algorithms").empty()) return;
      report("gateway.oidc.algorithms",
             "must name at least one, because gateway.oidc.issuer is set", {"gateway.oidc.issuer"});
    });
  }

  const Config& config_;
  const Names& doubtful_;
  bool in_doubt_ = false;
  std::vector<Fault> faults_;
};

}  // namespace

std::vector<Fault> check_rules(const Config& config, const Names& doubtful) {
  return Rules(config, doubtful).run();
}

}  // namespace alga::config
