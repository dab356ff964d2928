#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "domain/address.h"

namespace alga::domain {

/// Where an install may send requests: a list of rules, deny by default. Immutable; any thread.
///
///   [METHOD ]scheme://host[:port][/path-prefix]    host exact or `*.suffix` (any depth, not the
///   apex) cidr:<network>/<bits>[:port]                   consent to addresses that are not public
///
/// A rule without a port means the scheme's own. A path prefix ends at a segment border. `*` as the
/// host means any host. docs/contracts/egress.md has the details.
class EgressPolicy {
 public:
  /// What may be dialled. `url` is rebuilt from its judged parts: canonical, without userinfo and
  /// fragment. Dial this one, never the one that came in.
  struct Target {
    std::string url;
    std::string host;  ///< lower case, no trailing dot; an IPv6 address without brackets
    std::string scheme;
    std::uint16_t port;
  };

  /// Denies everything.
  EgressPolicy() = default;

  /// Error: `egress.invalid_rule`, naming the rule by its number, never by its text.
  [[nodiscard]] static Result<EgressPolicy> parse(const std::vector<std::string>& rules);

  /// Errors: `egress.invalid_url` for a URL or method that is no good for anybody, `egress.denied`
  /// for one that no rule allows (including a literal address that may not be dialled).
  [[nodiscard]] Result<Target> judge(std::string_view method, std::string_view url) const;

  /// To be asked for the address of every connection attempt, after name resolution. Public
  /// addresses pass unless the policy is empty; all others only by a `cidr:` rule, metadata
  /// addresses only by one that names the single address.
  [[nodiscard]] bool allows_address(const AddressBytes& address, std::uint16_t port) const;

  /// Whether a `cidr:` rule, and so an operator, names the address.
  [[nodiscard]] bool names_address(const AddressBytes& address, std::uint16_t port) const;

  /// SHA-256 (hex) of the canonical rules; equal policies have equal digests.
  [[nodiscard]] std::string digest() const;

  /// True when a rule may only be granted by an operator: any `cidr:` rule and any-host rules.
  [[nodiscard]] bool needs_operator() const;

  /// The rules in canonical spelling, sorted, without repetition.
  [[nodiscard]] std::vector<std::string> rules() const;

  /// What an administrator should think about before granting, such as a wildcard below a public
  /// suffix (`*.co.uk`). Names the rule in canonical spelling.
  [[nodiscard]] std::vector<std::string> warnings() const;

  [[nodiscard]] bool empty() const { return urls_.empty() && networks_.empty(); }

 private:
  struct UrlRule {
    std::string method;  ///< empty: any
    std::string scheme;
    std::string host;    ///< empty: any host
    bool below = false;  ///< `*.host`
    std::uint16_t port = 0;
    std::string path;  ///< empty: any
    [[nodiscard]] std::string text() const;
  };
  struct NetworkRule {
    Network network;
    std::uint16_t port = 0;  ///< 0: any
    std::string text;
  };

  [[nodiscard]] static Result<UrlRule> parse_url_rule(std::string_view text);
  [[nodiscard]] static Result<NetworkRule> parse_network_rule(std::string_view text);

  std::vector<UrlRule> urls_;
  std::vector<NetworkRule> networks_;
};

}  // namespace alga::domain
