#include "control_plane/install_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/bytes.h"
#include "control_plane/cell.h"
#include "crypto/digest.h"
#include "domain/envelope.h"
#include "domain/grant.h"
#include "domain/limits.h"

namespace alga::control_plane {
namespace {

constexpr std::size_t kCachedInstalls = 10'000;

struct Loaded {
  InstallRow install;
  ConfigState config;
  std::vector<domain::Endpoint> endpoints;
};

Result<Loaded> load(sql::Executor& sql, const PublishPolicy& policy, const TenantId& tenant,
                    const std::string& ref) {
  TRY(InstallRow install, find_install(sql, tenant, ref));
  if (!install.active()) {
    return fail(Kind::not_found, "install.not_found", "there is no such install");
  }
  TRY_VOID(check_trust(sql, policy, install.version, install.content_hash));
  TRY(ConfigState config, load_config(sql, install));
  TRY(auto endpoints, load_endpoints(sql, install.version.id));
  return Loaded{std::move(install), std::move(config), std::move(endpoints)};
}

/// As runners are told it: CPU time travels as `fuel`.
domain::RequestedLimits requested_limits(const InstallLimits& limits) {
  domain::RequestedLimits requested{.timeout_ms = limits.timeout_ms, .memory_mb = limits.memory_mb};
  if (limits.cpu_ms) requested.fuel = *limits.cpu_ms * domain::fuel_per_cpu_ms;
  return requested;
}

}  // namespace

Result<std::shared_ptr<const domain::InstallConfig>> InstallConfigAssembler::assemble(
    const TenantId& tenant, const std::string& ref) const {
  TRY(Loaded loaded, core_.db().read([&](sql::Executor& sql) {
    return load(sql, core_.options().publishing, tenant, ref);
  }));
  const InstallRow& install = loaded.install;
  TRY(InstallId install_id, parsed_cell<InstallId>(install.id, "id"));
  TRY(VersionId version, parsed_cell<VersionId>(install.version.id, "version_id"));
  TRY(ExtensionId registry, parsed_cell<ExtensionId>(install.version.extension_id, "extension_id"));
  TRY(ContentHash hash, parsed_cell<ContentHash>(install.content_hash, "content_hash"));
  WallTime now = core_.now();
  domain::InstallConfig config{
      .tenant = tenant,
      .slug = install.version.slug,
      .install = std::move(install_id),
      .version = std::move(version),
      .registry = std::move(registry),
      .content_hash = std::move(hash),
      .config = std::move(loaded.config.config),
      .providers = install.effective().names(),
      .config_version = loaded.config.version,
      .endpoints = std::move(loaded.endpoints),
      .endpoints_declared = install.version.endpoints_declared,
      .client_portal = install.version.client_portal,
      .limits = requested_limits(install.limits),
      .generation = std::to_string(install.generation),
  };
  TRY_VOID(add_secrets(config, install));
  TRY_VOID(add_grant(config, install, now));
  add_answer_key(config);
  artefacts_.used(config.content_hash);
  return std::make_shared<const domain::InstallConfig>(std::move(config));
}

Status InstallConfigAssembler::add_secrets(domain::InstallConfig& config,
                                           const InstallRow& install) const {
  if (core_.options().broker.enabled) {
    config.secrets_version = install.secrets_version;
    if (!install.secrets_version.empty()) config.envelope = broker_.blank(install.secrets_version);
    return {};
  }
  TRY(InstallEnvelope secrets,
      envelopes_.get(config.tenant, config.install, install.secrets_version));
  config.secrets_version = std::move(secrets.version);
  config.envelope = std::move(secrets.envelope);
  return {};
}

void InstallConfigAssembler::add_answer_key(domain::InstallConfig& config) const {
  const auto root = keys_.signer(KeyPurpose::answer);
  const crypto::LockedBytes seed = root->seed();
  const std::string label =
      fmt::format("alga-answer-key:v1\n{}\n{}", config.tenant.str(), config.install.str());
  crypto::Digest derived = crypto::hmac_sha256(seed.reveal(), as_bytes(label));
  config.answer_key = std::make_shared<const domain::AnswerKey>(
      root->public_key().id(), Secret(std::string(as_text(derived))));
  explicit_bzero(derived.data(), derived.size());
}

WallTime InstallConfigAssembler::renew_at(const domain::InstallConfig& config) const {
  const WallTime half = config.grant_expires - core_.options().grant_life / 2;
  return std::min(half, envelopes_.renew_at(config.envelope).value_or(half));
}

Status InstallConfigAssembler::add_grant(domain::InstallConfig& config, const InstallRow& install,
                                         WallTime now) const {
  WallTime issued = std::chrono::floor<std::chrono::seconds>(now);
  domain::Grant grant{
      .issued = issued,
      .expires = issued + core_.options().grant_life,
      .tenant = config.tenant,
      .install = config.install,
      .extension = config.registry,
      .version = config.version,
      .content_hash = config.content_hash,
      .capabilities = install.effective(),
      .egress = install.egress,
      .limits = config.limits,
      .config_version = config.config_version,
      .secrets_version = config.secrets_version,
      .config_sha256 = domain::config_digest(config.config),
  };
  if (config.envelope) {
    grant.envelope_sha256 = domain::envelope_pin(*config.envelope);
    grant.envelope_expires = config.envelope->expires_at;
  }
  TRY(config.grant, domain::sign_grant(grant, *keys_.signer(KeyPurpose::grant)));
  config.grant_expires = grant.expires;
  return {};
}

Result<std::string> InstallConfigAssembler::generation(const TenantId& tenant,
                                                       const std::string& install) const {
  TRY(auto row, core_.db().read([&](sql::Executor& sql) {
    return sql.find(
        "SELECT generation FROM tenant_extension_install WHERE tenant = $1 AND id = $2 "
        "AND is_enabled = 1 AND status = 'enabled'",
        {tenant, install});
  }));
  if (!row) return fail(Kind::not_found, "install.not_found", "there is no such install");
  return std::to_string(row->at<std::uint64_t>(0));
}

async::Task<Result<std::shared_ptr<const domain::InstallConfig>>> CachedInstallConfigs::resolve(
    TenantId tenant, std::string extension) {
  if (Answer known = fresh({tenant.str(), extension})) co_return for_request(std::move(known));
  co_return co_await core_.deps().blocking->run(
      [this, &tenant, &extension] { return resolve_blocking(tenant, extension); });
}

Result<CachedInstallConfigs::Answer> CachedInstallConfigs::resolve_blocking(
    const TenantId& tenant, const std::string& extension) {
  if (Answer known = fresh({tenant.str(), extension})) return for_request(std::move(known));
  // Other control planes must know that somebody here holds leases.
  if (core_.options().remote_gateways) TRY_VOID(leases_.cover_anonymous());
  TRY(Answer answer, confirm_or_assemble(tenant, extension, core_.options().lease));
  return for_request(std::move(answer));
}

Result<CachedInstallConfigs::Answer> CachedInstallConfigs::confirm_blocking(
    const TenantId& tenant, const std::string& extension) {
  // Not for this process to serve again: the lease is the caller's.
  TRY(Answer answer, confirm_or_assemble(tenant, extension, std::chrono::milliseconds{0}));
  return for_request(std::move(answer));
}

CachedInstallConfigs::Answer CachedInstallConfigs::for_request(Answer answer) const {
  const auto& envelope = answer->envelope;
  if (!envelope || !domain::is_broker_token(*envelope)) return answer;
  domain::InstallConfig own = *answer;
  if (own.envelope) broker_.mint({own.tenant, own.install}, *own.envelope);
  return std::make_shared<const domain::InstallConfig>(std::move(own));
}

Result<CachedInstallConfigs::Answer> CachedInstallConfigs::confirm_or_assemble(
    const TenantId& tenant, const std::string& extension, std::chrono::milliseconds lease) {
  Name name{tenant.str(), extension};
  // Both are noted before the database is asked: what happens afterwards makes the answer stale.
  std::uint64_t seen = changes_.count();
  SteadyTime asked = core_.steady();
  if (Answer known = renewable(name)) {
    auto generation = assembler_.generation(tenant, known->install.str());
    if (generation && *generation == known->generation) {
      const WallTime renew_at = assembler_.renew_at(*known);
      remember(name, {known, seen, asked + lease, renew_at});
      return known;
    }
  }
  auto loaded = assembler_.assemble(tenant, extension);
  if (!loaded) {
    forget(name);
    return loaded;
  }
  const WallTime renew_at = assembler_.renew_at(**loaded);
  remember(name, {*loaded, seen, asked + lease, renew_at});
  return loaded;
}

CachedInstallConfigs::Answer CachedInstallConfigs::fresh(const Name& name) {
  std::lock_guard lock(mutex_);
  auto found = entries_.find(name);
  if (found == entries_.end()) return nullptr;
  const Entry& entry = found->second;
  bool good = entry.changes == changes_.count() && core_.steady() < entry.confirmed_until &&
              core_.now() < entry.renew_at && !is_of_the_future(*entry.config);
  return good ? entry.config : nullptr;
}

CachedInstallConfigs::Answer CachedInstallConfigs::renewable(const Name& name) {
  std::lock_guard lock(mutex_);
  auto found = entries_.find(name);
  if (found == entries_.end() || core_.now() >= found->second.renew_at) return nullptr;
  if (is_of_the_future(*found->second.config)) return nullptr;
  return found->second.config;
}

/// A clock that was ahead and has been set right leaves grants that runners refuse.
bool CachedInstallConfigs::is_of_the_future(const domain::InstallConfig& config) const {
  const WallTime issued = config.grant_expires - core_.options().grant_life;
  return issued > core_.now() + domain::grant_clock_skew;
}

void CachedInstallConfigs::remember(const Name& name, Entry entry) {
  std::lock_guard lock(mutex_);
  if (entries_.size() >= kCachedInstalls && !entries_.contains(name)) entries_.clear();
  entries_.insert_or_assign(name, std::move(entry));
}

void CachedInstallConfigs::forget(const Name& name) {
  std::lock_guard lock(mutex_);
  entries_.erase(name);
}

}  // namespace alga::control_plane
