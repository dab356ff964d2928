#include "app/setting_demands.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "base/clock.h"
#include "base/ids.h"
#include "blob/s3_bundle_store.h"
#include "config/values.h"
#include "crypto/sign.h"
#include "domain/address.h"
#include "domain/egress_policy.h"
#include "domain/http.h"
#include "runner/ui_rules.h"
#include "sql/database.h"
#include "vault/vault_client.h"
#include "vault/vault_engines.h"

namespace alga::app {
namespace {

Status wrong(std::string message) {
  return fail(Kind::invalid, "config.bad_value", std::move(message));
}
Status good_if(bool good, std::string_view otherwise) {
  return good ? Status{} : wrong(std::string(otherwise));
}
/// The reason of whoever refuses it, as the rest of a sentence about the setting.
Status not_good(const Error& error) { return wrong("is not good: " + error.message); }

Status public_key(const std::string& text) {
  if (crypto::PublicKey::from_base64(text)) return {};
  return fail(Kind::invalid, "config.bad_key",
              "must be a public key (Ed25519, 32 bytes in base64)");
}

Status network(const std::string& text) {
  return good_if(domain::parse_network(text).has_value(),
                 "must be a network such as 10.0.0.0/8, without bits behind the prefix");
}

Status address(const std::string& text) {
  return good_if(domain::parse_address(text).has_value(), "must be an IP address");
}

/// curl passes over what it cannot read, and whoever pinned an address would not learn of it.
Status fixed_address(const std::string& text) {
  constexpr std::string_view form =
      "must be host:port:address, such as api.example.com:443:10.0.0.7";
  const std::size_t colon = text.find(':');
  const std::size_t second = colon == std::string::npos ? colon : text.find(':', colon + 1);
  if (colon == 0 || second == std::string::npos) return wrong(std::string(form));
  const std::string_view digits = std::string_view(text).substr(colon + 1, second - colon - 1);
  std::uint16_t port = 0;
  const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  bool good = code == std::errc{} && end == digits.data() + digits.size() && port != 0;
  good = good && !std::string_view(text).substr(0, colon).contains(' ');
  std::string_view rest = std::string_view(text).substr(second + 1);
  while (good) {
    const std::size_t comma = std::min(rest.find(','), rest.size());
    std::string_view one = rest.substr(0, comma);
    if (one.starts_with('[') && one.ends_with(']')) one = one.substr(1, one.size() - 2);
    good = domain::parse_address(one).has_value();
    if (comma == rest.size()) break;
    rest.remove_prefix(comma + 1);
  }
  return good_if(good, form);
}

Status egress_rule(const std::string& text) {
  const auto policy = domain::EgressPolicy::parse({text});
  if (policy) return {};
  // It numbers the rules; which one it is, the caller knows.
  std::string_view why = policy.error().message;
  constexpr std::string_view number = "rule 1: ";
  if (why.starts_with(number)) why.remove_prefix(number.size());
  return fail(Kind::invalid, "egress.invalid_rule", "is no egress rule: " + std::string(why));
}

/// What browsers send: compared byte by byte.
Status origin(const std::string& text) {
  constexpr std::string_view form =
      "must be an origin as browsers send it, such as https://app.example.com: small letters, "
      "without path and without the scheme's own port";
  if (!config::check_url(text)) return wrong(std::string(form));
  const bool secure = text.starts_with("https://");
  const bool small = std::ranges::none_of(text, [](char c) { return c >= 'A' && c <= 'Z'; });
  const bool bare = !std::string_view(text).substr(secure ? 8 : 7).contains('/');
  return good_if(small && bare && !text.ends_with(secure ? ":443" : ":80"), form);
}

Status header_name(const std::string& text) {
  return good_if(domain::is_http_token(text), "must be the name of a header");
}
Status header_value(const std::string& text) {
  return good_if(domain::is_header_value(text), "must be good as the value of a header");
}

/// They are compared with what stands in a certificate.
Status certificate_name(const std::string& text) {
  const bool good = std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7F; });
  return good_if(good, "must be a DNS or URI name as it stands in a certificate");
}

Status tenant(const std::string& text) {
  return good_if(TenantId::parse(text).has_value(), "must be the id of a tenant");
}

Status moment(const std::string& text) {
  return good_if(parse_rfc3339(text).has_value(),
                 "must be a moment (RFC 3339) such as 2027-03-01T00:00:00Z");
}

Status domain_name(const std::string& text) {
  return good_if(runner::ui_host(text) == text,
                 "must be a domain name in small letters, without port");
}

Status content_policy(const std::string& text) {
  return good_if(runner::ui_content_policy(text, {}).has_value(), "must be printable ASCII");
}
Status frame_ancestor(const std::string& text) {
  return good_if(runner::ui_content_policy("", {text}).has_value(),
                 "must be one source of frame-ancestors, such as https://app.example.com");
}

Status database_address(const std::string& text) {
  const Status good = sql::check_address(text);
  return good ? Status{} : not_good(good.error());
}

Status s3_endpoint(const std::string& text) {
  const Status good = blob::S3BundleStore::check_endpoint(text);
  return good ? Status{} : not_good(good.error());
}
Status s3_bucket(const std::string& text) {
  return good_if(blob::S3BundleStore::is_bucket(text), "must be the name of an S3 bucket");
}
Status s3_prefix(const std::string& text) {
  return good_if(blob::S3BundleStore::is_prefix(text),
                 "must be good in front of S3 keys: segments without a slash around them");
}

Status mount(const std::string& text) {
  return good_if(vault::is_mount(text), "must be the mount of an engine of Vault");
}
Status login_mount(const std::string& text) {
  return good_if(vault::is_secret_path(text), "must be the mount of a login method of Vault");
}
Status transit_key(const std::string& text) {
  return good_if(vault::is_secret_path(text) && !text.contains('/'),
                 "must be the name of a key of Vault");
}
Status app_path(const std::string& text) {
  return good_if(vault::VaultSecrets::is_app_path(text),
                 "must be a KV v2 path such as kv/data/app/secrets");
}
Status tenant_path(const std::string& text) {
  return good_if(vault::VaultSecrets::is_tenant_path(text),
                 "must be a KV v2 path with a place for the tenant, such as "
                 "kv/data/tenants/{tenantId}/secrets");
}

/// Its origin stands in the policy of pages.
Status public_address(const std::string& text) {
  const bool good = std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7F; });
  return good_if(good, "must be ASCII: a name with other letters in its xn-- form");
}

Status url(const std::string& text) { return config::check_url(text); }

const std::map<std::string_view, Status (*)(const std::string&)>& demands() {
  static const std::map<std::string_view, Status (*)(const std::string&)> all{
      {"server.public_url", &public_address},
      {"server.trusted_proxies", &network},
      {"database.url", &database_address},
      {"bundles.s3.endpoint", &s3_endpoint},
      {"bundles.s3.bucket", &s3_bucket},
      {"bundles.s3.prefix", &s3_prefix},
      {"bundles.s3.region", &header_name},
      {"engine.artefact_keys", &public_key},
      {"runner.client_names", &certificate_name},
      {"runner.grant_keys", &public_key},
      {"runner.ui.content_security_policy", &content_policy},
      {"runner.ui.frame_ancestors", &frame_ancestor},
      {"egress.rules", &egress_rule},
      {"egress.own_addresses", &address},
      {"egress.fixed_addresses", &fixed_address},
      {"secrets.broker_runners", &certificate_name},
      {"vault.namespace", &header_value},
      {"vault.login_mount", &login_mount},
      {"vault.app_path", &app_path},
      {"vault.tenant_path", &tenant_path},
      {"vault.transit_mount", &mount},
      {"vault.transit_key", &transit_key},
      {"vault.wrapping_key", &transit_key},
      {"vault.allowed_mounts", &mount},
      {"control_plane.runners", &url},
      {"control_plane.domain_root", &domain_name},
      {"publishing.legacy_modules_until", &moment},
      {"publishing.pilot_tenants", &tenant},
      {"gateway.allowed_origins", &origin},
      {"gateway.extra_request_headers", &header_name},
  };
  return all;
}

}  // namespace

void add_demands(std::vector<config::Setting>& settings) {
  for (const auto& [name, demand] : demands()) {
    const auto setting = std::ranges::find(settings, name, &config::Setting::name);
    ALGA_CHECK(setting != settings.end());
    setting->demand = demand;
  }
}

}  // namespace alga::app
