#include "domain/grant.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <limits>
#include <utility>

#include "crypto/digest.h"
#include "domain/envelope.h"
#include "json/decode.h"

namespace alga::domain {
namespace {

constexpr std::int64_t format_version = 1;
constexpr std::string_view signing_label = "alga-grant:v1.";
constexpr std::size_t longest_text = 256;

std::unexpected<Error> refuse(std::string_view code, std::string message) {
  return fail(Kind::unauthenticated, code, std::move(message));
}

std::int64_t seconds_of(WallTime time) {
  return std::chrono::floor<std::chrono::seconds>(time).time_since_epoch().count();
}

boost::json::value or_null(const std::optional<std::string>& text) {
  if (!text) return nullptr;
  return boost::json::value(*text);
}

boost::json::object payload_of(const Grant& grant, std::string_view key_id) {
  boost::json::object limits;
  auto add_limit = [&](std::string_view name, const std::optional<std::uint64_t>& limit) {
    if (limit) limits[name] = *limit;
  };
  add_limit("timeout_ms", grant.limits.timeout_ms);
  add_limit("memory_mb", grant.limits.memory_mb);
  add_limit("fuel", grant.limits.fuel);
  boost::json::array capabilities;
  for (const std::string& name : grant.capabilities.names()) capabilities.emplace_back(name);
  boost::json::array egress;
  for (const std::string& rule : grant.egress) egress.emplace_back(rule);

  boost::json::object payload{
      {"v", format_version},
      {"kid", key_id},
      {"iat", seconds_of(grant.issued)},
      {"exp", seconds_of(grant.expires)},
      {"tenant", grant.tenant.str()},
      {"install", grant.install.str()},
      {"extension", grant.extension.str()},
      {"version", grant.version.str()},
      {"hash", grant.content_hash.prefixed()},
      {"caps", std::move(capabilities)},
      {"egress", std::move(egress)},
      {"limits", std::move(limits)},
      {"config_version", grant.config_version},
      {"secrets_version", grant.secrets_version},
      {"envelope_sha256", or_null(grant.envelope_sha256)},
      {"envelope_expires", or_null(grant.envelope_expires)},
  };
  if (grant.config_sha256) payload["config_sha256"] = *grant.config_sha256;
  return payload;
}

template <class Identifier>
Result<Identifier> read_id(json::Object& object, std::string_view name) {
  TRY(std::string text, object.string(name, longest_text));
  std::optional<Identifier> id = Identifier::parse(text);
  if (!id) return refuse("grant.malformed", object.path_of(name) + " is no identifier");
  return *std::move(id);
}

Result<std::optional<std::uint64_t>> read_limit(json::Object& object, std::string_view name) {
  TRY(std::optional<std::int64_t> number,
      object.optional_integer(name, 0, std::numeric_limits<std::int64_t>::max()));
  if (!number) return std::nullopt;
  return static_cast<std::uint64_t>(*number);
}

Result<RequestedLimits> read_limits(json::Object& payload) {
  TRY(json::Object object, payload.object("limits"));
  RequestedLimits limits;
  TRY(limits.timeout_ms, read_limit(object, "timeout_ms"));
  TRY(limits.memory_mb, read_limit(object, "memory_mb"));
  TRY(limits.fuel, read_limit(object, "fuel"));
  // A limit that this runner does not know is one it would not keep.
  TRY_VOID(object.finish());
  return limits;
}

Result<Grant> read_grant(json::Object& payload) {
  // 9999-12-31: beyond it a time would not survive the conversion to milliseconds.
  constexpr std::int64_t last_second = 253'402'300'799;
  TRY(std::int64_t format, payload.integer("v"));
  if (format != format_version) return refuse("grant.malformed", "the format is not known");
  TRY(std::int64_t issued, payload.integer("iat", 0, last_second));
  TRY(std::int64_t expires, payload.integer("exp", 0, last_second));
  TRY(TenantId tenant, read_id<TenantId>(payload, "tenant"));
  TRY(InstallId install, read_id<InstallId>(payload, "install"));
  TRY(ExtensionId extension, read_id<ExtensionId>(payload, "extension"));
  TRY(VersionId version, read_id<VersionId>(payload, "version"));
  TRY(ContentHash hash, read_id<ContentHash>(payload, "hash"));
  TRY(std::vector<std::string> names, payload.strings("caps", 64));
  TRY(CapabilitySet capabilities, parse_capabilities(names));
  TRY(std::vector<std::string> egress, payload.strings("egress"));
  TRY(RequestedLimits limits, read_limits(payload));
  TRY(std::string config_version, payload.string("config_version", longest_text));
  TRY(std::string secrets_version, payload.string("secrets_version", longest_text));
  TRY(std::optional<std::string> envelope_sha256,
      payload.optional_string("envelope_sha256", longest_text));
  TRY(std::optional<std::string> envelope_expires,
      payload.optional_string("envelope_expires", longest_text));
  TRY(std::optional<std::string> config_sha256,
      payload.optional_string("config_sha256", longest_text));
  TRY_VOID(payload.finish());
  return Grant{
      .issued = WallTime{std::chrono::seconds{issued}},
      .expires = WallTime{std::chrono::seconds{expires}},
      .tenant = std::move(tenant),
      .install = std::move(install),
      .extension = std::move(extension),
      .version = std::move(version),
      .content_hash = std::move(hash),
      .capabilities = capabilities,
      .egress = std::move(egress),
      .limits = limits,
      .config_version = std::move(config_version),
      .secrets_version = std::move(secrets_version),
      .envelope_sha256 = std::move(envelope_sha256),
      .envelope_expires = std::move(envelope_expires),
      .config_sha256 = std::move(config_sha256),
  };
}

Status check_life(const Grant& grant) {
  if (grant.expires <= grant.issued || grant.expires - grant.issued > longest_grant_life) {
    return refuse("grant.bad_life", "a grant lives for a minute at most");
  }
  return {};
}

std::string signed_text(std::string_view first_part) {
  return std::string(signing_label) + std::string(first_part);
}

}  // namespace

Result<std::string> sign_grant(const Grant& grant, const crypto::SigningKey& key) {
  TRY_VOID(check_life(grant));
  std::string payload = json::canonical(payload_of(grant, key.public_key().id()));
  std::string token = base64url_encode(as_bytes(payload));
  crypto::Signature signature = key.sign(as_bytes(signed_text(token)));
  token += "." + base64url_encode(signature);
  if (token.size() > longest_grant_token) {
    return fail(Kind::too_large, "grant.too_large",
                "the egress rules of this install do not fit into a grant");
  }
  return token;
}

std::string config_digest(const std::map<std::string, std::string>& config) {
  boost::json::object object;
  for (const auto& [name, value] : config) object[name] = value;
  return crypto::sha256_hex(json::canonical(object));
}

GrantVerifier::GrantVerifier(const Clock& clock, std::size_t cache_entries)
    : clock_(clock), cache_entries_(cache_entries), keys_(std::make_shared<const KeyRing>()) {}

void GrantVerifier::set_keys(const std::vector<crypto::PublicKey>& keys) {
  KeyRing ring;
  for (const crypto::PublicKey& key : keys) ring.emplace(key.id(), key);
  auto replacement = std::make_shared<const KeyRing>(std::move(ring));
  std::scoped_lock lock(mutex_);
  keys_ = std::move(replacement);
  cache_.clear();
  order_.clear();
}

std::size_t GrantVerifier::remembered() const {
  std::scoped_lock lock(mutex_);
  return cache_.size();
}

std::optional<crypto::PublicKey> GrantVerifier::trusted_key(std::string_view key_id) const {
  std::scoped_lock lock(mutex_);
  auto found = keys_->find(key_id);
  if (found == keys_->end()) return std::nullopt;
  return found->second;
}

Result<std::shared_ptr<const VerifiedGrant>> GrantVerifier::verify(std::string_view token) {
  if (token.empty() || token.size() > longest_grant_token) {
    return refuse("grant.malformed", "the grant is empty or too long");
  }
  std::string digest = crypto::sha256_hex(token);
  std::shared_ptr<const VerifiedGrant> known;
  {
    std::scoped_lock lock(mutex_);
    if (auto found = cache_.find(digest); found != cache_.end()) known = found->second;
  }
  if (known) {
    TRY_VOID(check_time(known->grant));
    return known;
  }
  TRY(std::shared_ptr<const VerifiedGrant> grant, check(token));
  TRY_VOID(check_time(grant->grant));
  remember(std::move(digest), grant);
  return grant;
}

Result<std::shared_ptr<const VerifiedGrant>> GrantVerifier::check(std::string_view token) const {
  std::size_t dot = token.find('.');
  if (dot == std::string_view::npos) return refuse("grant.malformed", "it has no signature");
  std::optional<std::string> payload = base64url_decode(token.substr(0, dot));
  std::optional<std::string> signature = base64url_decode(token.substr(dot + 1));
  if (!payload || !signature) return refuse("grant.malformed", "it is not base64url");
  Result<json::Document> document =
      json::Document::parse(*payload, {.max_bytes = longest_grant_token, .max_depth = 3});
  if (!document) return refuse("grant.malformed", document.error().message);
  json::Object root = document->root();
  Result<std::string> key_id = root.string("kid", longest_text);
  if (!key_id) return refuse("grant.malformed", key_id.error().message);

  std::shared_ptr<const KeyRing> keys;
  {
    std::scoped_lock lock(mutex_);
    keys = keys_;
  }
  auto key = keys->find(*key_id);
  if (key == keys->end()) return refuse("grant.unknown_key", "its key is not trusted here");
  if (!key->second.verify(as_bytes(signed_text(token.substr(0, dot))), as_bytes(*signature))) {
    return refuse("grant.bad_signature", "its signature does not fit");
  }
  Result<Grant> grant = read_grant(root);
  if (!grant) return refuse("grant.malformed", grant.error().message);
  TRY_VOID(check_life(*grant));
  Result<EgressPolicy> egress = EgressPolicy::parse(grant->egress);
  if (!egress) return refuse("grant.malformed", egress.error().message);
  return std::make_shared<const VerifiedGrant>(
      VerifiedGrant{*std::move(grant), *std::move(key_id),
                    std::make_shared<const EgressPolicy>(*std::move(egress))});
}

Status GrantVerifier::check_time(const Grant& grant) const {
  WallTime now = clock_.wall();
  if (now + grant_clock_skew < grant.issued) {
    return refuse("grant.not_yet_valid", "the grant is from the future");
  }
  if (now >= grant.expires + grant_clock_skew) {
    return refuse("grant.expired", "the grant has expired");
  }
  return {};
}

void GrantVerifier::remember(std::string digest, std::shared_ptr<const VerifiedGrant> grant) {
  std::scoped_lock lock(mutex_);
  // The ring may have changed since the check.
  if (cache_entries_ == 0 || !keys_->contains(grant->key_id)) return;
  if (!cache_.try_emplace(digest, std::move(grant)).second) return;
  order_.push_back(std::move(digest));
  auto oldest_is_useless = [&] {
    return cache_.size() > cache_entries_ || !check_time(cache_.at(order_.front())->grant);
  };
  while (!order_.empty() && oldest_is_useless()) {
    cache_.erase(order_.front());
    order_.pop_front();
  }
}

Status check_request(const Grant& grant, const ExecuteRequest& request) {
  auto differs = [](std::string_view code, std::string what) -> Status {
    return fail(Kind::denied, code, "the grant is for another " + std::move(what));
  };
  if (request.tenant != grant.tenant) return differs("grant.tenant_mismatch", "tenant");
  if (request.extension != grant.extension) return differs("grant.extension_mismatch", "extension");
  if (request.install && *request.install != grant.install) {
    return differs("grant.install_mismatch", "install");
  }
  if (request.version && *request.version != grant.version) {
    return differs("grant.version_mismatch", "version");
  }
  if (request.content_hash != grant.content_hash) return differs("grant.hash_mismatch", "bundle");
  if (grant.config_sha256 && *grant.config_sha256 != config_digest(request.config)) {
    return differs("grant.config_mismatch", "configuration");
  }
  bool same_envelope =
      request.envelope.has_value() == grant.envelope_sha256.has_value() &&
      (!request.envelope || (envelope_pin(*request.envelope) == *grant.envelope_sha256 &&
                             (is_broker_token(*request.envelope) ||
                              request.envelope->expires_at == grant.envelope_expires)));
  if (!same_envelope) return differs("grant.envelope_mismatch", "secret envelope");
  return {};
}

}  // namespace alga::domain
