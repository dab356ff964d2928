#include "domain/egress_policy.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/bytes.h"
#include "crypto/digest.h"
#include "domain/egress_url.h"
#include "domain/http.h"

namespace alga::domain {
namespace {

constexpr std::size_t most_rules = 200;
constexpr std::size_t longest_rule = 2048;

/// Wildcards below these would cover unrelated owners. A warning, so the list need not be complete:
/// the common second-level registries and the common shared hosts. Every top-level domain counts.
constexpr std::string_view public_suffixes[] = {
    "ac.uk",
    "amazonaws.com",
    "appspot.com",
    "azureedge.net",
    "azurewebsites.net",
    "blob.core.windows.net",
    "cloudapp.net",
    "cloudfront.net",
    "co.at",
    "co.id",
    "co.il",
    "co.in",
    "co.jp",
    "co.kr",
    "co.nz",
    "co.th",
    "co.uk",
    "co.za",
    "com.ar",
    "com.au",
    "com.br",
    "com.cn",
    "com.co",
    "com.hk",
    "com.mx",
    "com.my",
    "com.ph",
    "com.pl",
    "com.sg",
    "com.tr",
    "com.tw",
    "com.ua",
    "com.vn",
    "firebaseapp.com",
    "fly.dev",
    "github.io",
    "gitlab.io",
    "gov.uk",
    "herokuapp.com",
    "myshopify.com",
    "ne.jp",
    "net.au",
    "netlify.app",
    "ngrok.io",
    "onrender.com",
    "or.jp",
    "org.au",
    "org.uk",
    "pages.dev",
    "r2.dev",
    "run.app",
    "s3.amazonaws.com",
    "supabase.co",
    "trafficmanager.net",
    "vercel.app",
    "web.app",
    "workers.dev",
};

std::unexpected<Error> bad_rule(std::string reason) {
  return fail(Kind::invalid, "egress.invalid_rule", std::move(reason));
}

bool is_public_suffix(std::string_view host) {
  return !host.contains('.') || std::ranges::binary_search(public_suffixes, host);
}

/// `prefix` is canonical and starts with `/`. A prefix without a final `/` ends at a segment
/// border.
bool path_matches(std::string_view prefix, std::string_view path) {
  if (prefix.empty()) return true;
  // What a server might decode once more could leave the prefix again: an encoded separator
  // or percent sign is not covered by a rule that restricts the path.
  for (std::string_view hidden : {"%2F", "%5C", "%25", "%00"}) {
    if (path.contains(hidden)) return false;
  }
  // Empty segments are where routers disagree most.
  if (path.contains("//") || path.contains("/./") || path.contains("/../")) return false;
  if (!path.starts_with(prefix)) return false;
  return prefix.ends_with('/') || path.size() == prefix.size() || path[prefix.size()] == '/';
}

bool host_matches(std::string_view pattern, bool below, std::string_view host) {
  if (pattern.empty()) return true;
  if (!below) return host == pattern;
  return host.size() > pattern.size() + 1 && host.ends_with(pattern) &&
         host[host.size() - pattern.size() - 1] == '.';
}

}  // namespace

std::string EgressPolicy::UrlRule::text() const {
  std::string out = method.empty() ? "" : method + " ";
  out += scheme + "://";
  bool brackets = host.contains(':');
  out += host.empty() ? "*" : (below ? "*." : "") + (brackets ? "[" + host + "]" : host);
  if (port != default_port(scheme)) out += ":" + std::to_string(port);
  return out + path;
}

Result<EgressPolicy::UrlRule> EgressPolicy::parse_url_rule(std::string_view text) {
  UrlRule rule;
  if (std::size_t blank = text.find(' '); blank != std::string_view::npos) {
    rule.method = std::string(text.substr(0, blank));
    text = trim(text.substr(blank));
    bool upper = std::ranges::all_of(rule.method, [](char c) { return c >= 'A' && c <= 'Z'; });
    if (!upper || rule.method.empty()) return bad_rule("the method must be in capitals");
    if (rule.method == "CONNECT" || rule.method == "TRACE") {
      return bad_rule("the method " + rule.method + " cannot be allowed");
    }
  }
  if (text.contains('?') || text.contains('#')) return bad_rule("a query or fragment in a rule");
  // A target's dot segments are resolved; in a rule they would only hide what it allows.
  if (text.contains("/./") || text.contains("/../") || text.ends_with("/.") ||
      text.ends_with("/..") || text.contains("%2e") || text.contains("%2E")) {
    return bad_rule("a dot segment in the path prefix");
  }

  // The wildcard is no part of a URL: take it out, then let the URL's own parser judge the rest.
  std::string plain(text);
  bool any_host = false;
  if (std::size_t star = plain.find("://*"); star != std::string::npos) {
    any_host = star + 4 == plain.size() || plain[star + 4] == ':' || plain[star + 4] == '/';
    rule.below = !any_host;
    if (rule.below && plain[star + 4] != '.') return bad_rule("`*` must be followed by a dot");
    plain.replace(star + 3, rule.below ? 2 : 1, any_host ? "any.invalid" : "");
  }
  if (plain.contains('*')) return bad_rule("`*` may only be the first label of the host");

  Result<EgressUrl> url = EgressUrl::parse(plain);
  if (!url) return bad_rule(url.error().message);
  if (rule.below && url->address) return bad_rule("a wildcard before an address");
  rule.scheme = url->scheme;
  rule.host = any_host ? "" : url->host;
  rule.port = url->port;
  rule.path = url->path == "/" ? "" : url->path;
  if (!path_matches(rule.path, rule.path)) {
    return bad_rule("the path prefix has empty, dot or encoded segments");
  }
  return rule;
}

Result<EgressPolicy::NetworkRule> EgressPolicy::parse_network_rule(std::string_view text) {
  NetworkRule rule;
  std::size_t slash = text.rfind('/');
  std::size_t colon = slash == std::string_view::npos ? slash : text.find(':', slash);
  if (colon != std::string_view::npos) {
    std::string_view digits = text.substr(colon + 1);
    auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), rule.port);
    if (error != std::errc{} || end != digits.data() + digits.size() || rule.port == 0) {
      return bad_rule("the port must be between 1 and 65535");
    }
  }
  std::optional<Network> network = parse_network(text.substr(0, colon));
  if (!network) return bad_rule("not a network such as 10.1.0.0/16 (no bits behind the prefix)");
  // Consent is for a network somebody knows, never for "everything".
  if (network->bits < (network->address.v6 ? 7 : 8)) return bad_rule("the network is too wide");
  rule.network = *network;
  rule.text = "cidr:" + to_lower(text.substr(0, colon));
  if (rule.port != 0) rule.text += ":" + std::to_string(rule.port);
  return rule;
}

Result<EgressPolicy> EgressPolicy::parse(const std::vector<std::string>& rules) {
  EgressPolicy policy;
  if (rules.size() > most_rules) {
    return bad_rule("more than " + std::to_string(most_rules) + " rules");
  }
  auto numbered = [](std::size_t index, const Error& error) {
    return bad_rule("rule " + std::to_string(index + 1) + ": " + error.message);
  };
  for (std::size_t i = 0; i < rules.size(); ++i) {
    std::string_view text = trim(rules[i]);
    if (text.empty() || text.size() > longest_rule) {
      return bad_rule("rule " + std::to_string(i + 1) + ": empty or too long");
    }
    if (text.starts_with("cidr:")) {
      Result<NetworkRule> rule = parse_network_rule(text.substr(5));
      if (!rule) return numbered(i, rule.error());
      policy.networks_.push_back(std::move(*rule));
    } else {
      Result<UrlRule> rule = parse_url_rule(text);
      if (!rule) return numbered(i, rule.error());
      policy.urls_.push_back(std::move(*rule));
    }
  }
  return policy;
}

Result<EgressPolicy::Target> EgressPolicy::judge(std::string_view method,
                                                 std::string_view text) const {
  if (!is_http_token(method)) {
    return fail(Kind::invalid, "egress.invalid_url", "the method is not a token");
  }
  TRY(EgressUrl url, EgressUrl::parse(text));
  auto denied = [](std::string reason) {
    return fail(Kind::denied, "egress.denied", std::move(reason));
  };
  if (iequals(method, "CONNECT") || iequals(method, "TRACE")) {
    return denied("this method is never allowed");
  }
  bool allowed = std::ranges::any_of(urls_, [&](const UrlRule& rule) {
    return (rule.method.empty() || rule.method == method) && rule.scheme == url.scheme &&
           rule.port == url.port && host_matches(rule.host, rule.below, url.host) &&
           path_matches(rule.path, url.path);
  });
  if (url.address) {
    // Consent to a network is consent to its literal addresses.
    bool consented = std::ranges::any_of(networks_, [&](const NetworkRule& rule) {
      return rule.network.contains(unmapped(*url.address));
    });
    if (!allowed && !consented) return denied("no rule allows this address");
    if (!allows_address(*url.address, url.port)) return denied("this address is not public");
  } else if (!allowed) {
    return denied("no rule allows this URL");
  }
  return Target{url.str(), url.host, url.scheme, url.port};
}

bool EgressPolicy::allows_address(const AddressBytes& given, std::uint16_t port) const {
  if (empty() || port == 0) return false;
  return is_public(unmapped(given)) || names_address(given, port);
}

bool EgressPolicy::names_address(const AddressBytes& given, std::uint16_t port) const {
  AddressBytes address = unmapped(given);
  return std::ranges::any_of(networks_, [&](const NetworkRule& rule) {
    bool single = rule.network.bits == (rule.network.address.v6 ? 128 : 32);
    return rule.network.contains(address) && (rule.port == 0 || rule.port == port) &&
           (single || !is_metadata(address));
  });
}

std::vector<std::string> EgressPolicy::rules() const {
  std::vector<std::string> out;
  for (const UrlRule& rule : urls_) out.push_back(rule.text());
  for (const NetworkRule& rule : networks_) out.push_back(rule.text);
  std::ranges::sort(out);
  auto repeated = std::ranges::unique(out);
  out.erase(repeated.begin(), repeated.end());
  return out;
}

std::string EgressPolicy::digest() const {
  crypto::Sha256 hash;
  hash.update("alga-egress:v1\n");
  for (const std::string& rule : rules()) {
    hash.update(rule);
    hash.update("\n");
  }
  return hash.finish_hex();
}

bool EgressPolicy::needs_operator() const {
  return !networks_.empty() ||
         std::ranges::any_of(urls_, [](const UrlRule& rule) { return rule.host.empty(); });
}

std::vector<std::string> EgressPolicy::warnings() const {
  std::vector<std::string> out;
  for (const UrlRule& rule : urls_) {
    if (rule.host.empty()) {
      out.push_back(rule.text() + ": allows every public host");
    } else if (rule.below && is_public_suffix(rule.host)) {
      out.push_back(rule.text() + ": covers hosts of unrelated owners");
    } else if (rule.scheme == "http" && !rule.host.contains(':')) {
      out.push_back(rule.text() + ": is not encrypted");
    }
  }
  return out;
}

}  // namespace alga::domain
