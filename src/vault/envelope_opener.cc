#include "vault/envelope_opener.h"

#include <pthread.h>

#include <algorithm>

#include "domain/broker_token.h"
#include "vault/vault_engines.h"

namespace alga::vault {
namespace {

using domain::EnvelopeAlgorithm;
using domain::EnvelopeBinding;
using domain::SecretEnvelope;
using domain::SecretMap;

std::string install_key(const EnvelopeBinding& binding) {
  return binding.tenant.str() + '\n' + binding.install.str() + '\n';
}

std::string cache_key(const SecretEnvelope& envelope, const EnvelopeBinding& binding) {
  return install_key(binding) + envelope.version.value_or("none");
}

bool needs_network(EnvelopeAlgorithm algorithm) {
  return algorithm == EnvelopeAlgorithm::vault_transit ||
         algorithm == EnvelopeAlgorithm::broker_token;
}

}  // namespace

std::string envelope_context(const EnvelopeBinding& binding, const SecretEnvelope& envelope) {
  return "alga-envelope:v1\n" + install_key(binding) + envelope.version.value_or("") + '\n' +
         envelope.expires_at.value_or("");
}

EnvelopeOpener::EnvelopeOpener(Options options, Dependencies dependencies)
    : options_(std::move(options)),
      use_(std::move(dependencies)),
      hits_(use_.metrics.counter("alga_secret_cache_hits_total",
                                 "Envelopes whose secrets were still open")),
      misses_(use_.metrics.counter("alga_secret_cache_misses_total",
                                   "Envelopes that had to be opened")),
      failures_(use_.metrics.counter("alga_secret_open_failures_total",
                                     "Envelopes that were refused or could not be opened")) {
  if (options_.sweep_every.count() > 0) {
    sweeper_ = std::thread([this] {
      pthread_setname_np(pthread_self(), "secret-sweep");
      sweep();
    });
  }
}

EnvelopeOpener::~EnvelopeOpener() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  stop_.notify_all();
  if (sweeper_.joinable()) sweeper_.join();
}

void EnvelopeOpener::sweep() {
  std::unique_lock lock(mutex_);
  while (!stop_.wait_for(lock, options_.sweep_every, [this] { return stopping_; })) {
    drop_idle(use_.clock.steady());
  }
}

std::optional<Result<EnvelopeOpener::Map>> EnvelopeOpener::open_at_once(
    const SecretEnvelope& envelope, const EnvelopeBinding& binding) {
  const auto algorithm = domain::check_envelope(envelope, use_.clock.wall(), options_.policy);
  if (!algorithm) {
    failures_.add();
    return fail(algorithm.error());
  }
  const std::string key = cache_key(envelope, binding);
  const std::string digest = domain::envelope_digest(envelope);
  Map ready = find(key, digest);
  if (ready == nullptr && *algorithm == EnvelopeAlgorithm::broker_token &&
      is_of_broker(envelope, binding)) {
    ready = find(key, {});
  }
  if (ready != nullptr) {
    hits_.add();
    return ready;
  }
  const bool key_is_new =
      *algorithm == EnvelopeAlgorithm::sealed && use_.refresh_sealing_keys && !holds_key(envelope);
  if (needs_network(*algorithm) || key_is_new) return std::nullopt;
  misses_.add();
  auto secrets = open_now(*algorithm, envelope, binding);
  if (!secrets) {
    failures_.add();
    return fail(secrets.error());
  }
  Map map = std::make_shared<const SecretMap>(std::move(secrets->secrets));
  keep(key, digest, map);
  return map;
}

void EnvelopeOpener::open(SecretEnvelope envelope, EnvelopeBinding binding, Done done) {
  if (auto answer = open_at_once(envelope, binding)) return done(std::move(*answer));
  misses_.add();
  const auto algorithm = domain::check_envelope(envelope, use_.clock.wall(), options_.policy);
  if (!algorithm) return done(fail(algorithm.error()));  // it has expired a moment ago
  const std::string key = cache_key(envelope, binding);
  const std::string digest = domain::envelope_digest(envelope);
  open_remotely(key, digest, *algorithm, std::move(envelope), std::move(binding), std::move(done));
}

void EnvelopeOpener::open_remotely(const std::string& key, const std::string& digest,
                                   EnvelopeAlgorithm algorithm, SecretEnvelope envelope,
                                   EnvelopeBinding binding, Done done) {
  // By digest, so that nobody waits for, or is given, what another envelope contains.
  const std::string flight = key + '\n' + digest;
  {
    const std::scoped_lock lock(mutex_);
    const auto [waiting, first] = flights_.try_emplace(flight);
    waiting->second.push_back(std::move(done));
    if (!first) return;
  }
  const TenantId tenant = binding.tenant;
  const bool taken =
      use_.submit(tenant, [this, key, digest, flight, algorithm, envelope = std::move(envelope),
                           binding = std::move(binding)] {
        auto secrets = open_now(algorithm, envelope, binding);
        if (!secrets) return finish(flight, fail(secrets.error()));
        Map map = std::make_shared<const SecretMap>(std::move(secrets->secrets));
        if (secrets->keep) keep(key, digest, map);
        finish(flight, std::move(map));
      });
  if (!taken) {
    finish(flight,
           fail({Kind::unavailable, "secret.overload", "too many secrets are waited for", 1}));
  }
}

void EnvelopeOpener::finish(const std::string& flight, Result<Map> outcome) {
  std::vector<Done> waiting;
  {
    const std::scoped_lock lock(mutex_);
    auto node = flights_.extract(flight);
    if (!node.empty()) waiting = std::move(node.mapped());
  }
  if (!outcome) failures_.add();
  for (Done& done : waiting) done(outcome);
}

Result<EnvelopeOpener::Opened> EnvelopeOpener::open_now(EnvelopeAlgorithm algorithm,
                                                        const SecretEnvelope& envelope,
                                                        const EnvelopeBinding& binding) {
  const auto whole = [](Result<SecretMap> secrets) -> Result<Opened> {
    if (!secrets) return fail(std::move(secrets).error());
    return Opened{.secrets = std::move(*secrets)};
  };
  switch (algorithm) {
    case EnvelopeAlgorithm::sealed: return whole(open_sealed(envelope, binding));
    case EnvelopeAlgorithm::inline_base64:
      return whole(domain::open_inline(envelope, use_.clock.wall(), options_.policy));
    case EnvelopeAlgorithm::vault_transit: return whole(open_transit(envelope, binding));
    case EnvelopeAlgorithm::broker_token: return redeem(envelope, binding);
  }
  return fail(Kind::invalid, "secret.unknown_algorithm", "the envelope's algorithm is not known");
}

Result<EnvelopeOpener::Opened> EnvelopeOpener::redeem(const SecretEnvelope& envelope,
                                                      const EnvelopeBinding& binding) {
  if (use_.broker == nullptr) {
    return fail(Kind::denied, "secret.no_broker", "this runner has no secret broker");
  }
  TRY(const BrokeredSecrets answer, use_.broker->redeem(envelope, binding));
  TRY(SecretMap secrets, SecretMap::from_json(answer.json));
  return Opened{.secrets = std::move(secrets), .keep = answer.version == envelope.version};
}

bool EnvelopeOpener::holds_key(const SecretEnvelope& envelope) const {
  const auto keys = use_.sealing_keys ? use_.sealing_keys() : nullptr;
  return keys != nullptr && keys->find(envelope.key_id.value_or("")) != nullptr;
}

Result<SecretMap> EnvelopeOpener::open_sealed(const SecretEnvelope& envelope,
                                              const EnvelopeBinding& binding) {
  if (use_.refresh_sealing_keys && !holds_key(envelope)) use_.refresh_sealing_keys();
  const auto keys = use_.sealing_keys ? use_.sealing_keys() : nullptr;
  if (keys == nullptr) {
    return fail(Kind::unavailable, "secret.unknown_key", "this runner holds no sealing key");
  }
  return domain::open_sealed(envelope, binding, *keys, use_.clock.wall(), options_.policy);
}

Result<SecretMap> EnvelopeOpener::open_transit(const SecretEnvelope& envelope,
                                               const EnvelopeBinding& binding) {
  if (use_.transit == nullptr) {
    return fail(Kind::denied, "secret.no_transit", "this runner has no Vault");
  }
  const std::string mount = envelope.mount.value_or(options_.transit_mount);
  const bool allowed =
      options_.allowed_mounts.empty()
          ? mount == options_.transit_mount
          : std::ranges::find(options_.allowed_mounts, mount) != options_.allowed_mounts.end();
  if (!allowed) {
    return fail(Kind::denied, "secret.mount_not_allowed",
                "the envelope names a Vault mount that is not configured here");
  }
  const std::string key = envelope.key_path.value_or("");
  auto json = use_.transit->decrypt(mount, key, envelope.ciphertext_b64,
                                    envelope_context(binding, envelope));
  const bool refused = !json && json.error().code == "vault.bad_request";
  if (refused && options_.allow_unbound_transit) {
    json = use_.transit->decrypt(mount, key, envelope.ciphertext_b64, {});
  }
  if (!json && json.error().code == "vault.bad_request") {
    return fail(Kind::denied, "secret.altered", "the envelope does not open for this install");
  }
  if (!json) return fail(json.error());
  return SecretMap::from_json(*json);
}

void EnvelopeOpener::trust_broker_keys(std::vector<crypto::PublicKey> keys) {
  const std::scoped_lock lock(mutex_);
  broker_keys_ = std::make_shared<const std::vector<crypto::PublicKey>>(std::move(keys));
}

bool EnvelopeOpener::is_of_broker(const SecretEnvelope& envelope,
                                  const EnvelopeBinding& binding) const {
  std::shared_ptr<const std::vector<crypto::PublicKey>> keys;
  {
    const std::scoped_lock lock(mutex_);
    keys = broker_keys_;
  }
  if (keys == nullptr) return false;
  const auto token = domain::verify_broker_token(envelope.ciphertext_b64, *keys, use_.clock.wall());
  return token && token->tenant == binding.tenant && token->install == binding.install &&
         token->version == envelope.version.value_or("") &&
         format_rfc3339(token->expires) == envelope.expires_at.value_or("");
}

EnvelopeOpener::Map EnvelopeOpener::find(const std::string& key, std::string_view digest) {
  const std::scoped_lock lock(mutex_);
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return nullptr;
  const Order::iterator entry = found->second;
  if (use_.clock.steady() - entry->since >= options_.ttl) {
    drop(entry);
    return nullptr;
  }
  if (!digest.empty() && entry->digest != digest) return nullptr;
  order_.splice(order_.begin(), order_, entry);
  return entry->secrets;
}

void EnvelopeOpener::keep(const std::string& key, const std::string& digest, const Map& secrets) {
  const std::scoped_lock lock(mutex_);
  // A version that has been replaced, or that a late request still brought, gives way at once.
  drop_install(std::string_view(key).substr(0, key.rfind('\n') + 1));
  // What has outlived its time goes first, wherever it stands: plaintext is not kept for idling.
  const SteadyTime now = use_.clock.steady();
  drop_idle(now);
  order_.push_front({key, digest, secrets, now});
  by_key_[key] = order_.begin();
  bytes_ += secrets->memory();
  while (order_.size() > options_.max_entries || (bytes_ > options_.max_bytes && !order_.empty())) {
    drop(std::prev(order_.end()));
  }
}

void EnvelopeOpener::drop(Order::iterator entry) {
  bytes_ -= entry->secrets->memory();
  by_key_.erase(entry->key);
  order_.erase(entry);
}

void EnvelopeOpener::forget(const EnvelopeBinding& binding) {
  const std::scoped_lock lock(mutex_);
  drop_install(install_key(binding));
}

void EnvelopeOpener::forget_idle() {
  const std::scoped_lock lock(mutex_);
  drop_idle(use_.clock.steady());
}

void EnvelopeOpener::drop_idle(SteadyTime now) {
  for (auto entry = order_.begin(); entry != order_.end();) {
    const auto next = std::next(entry);
    if (now - entry->since >= options_.ttl) drop(entry);
    entry = next;
  }
}

void EnvelopeOpener::drop_install(std::string_view prefix) {
  for (auto entry = order_.begin(); entry != order_.end();) {
    const auto next = std::next(entry);
    if (entry->key.starts_with(prefix)) drop(entry);
    entry = next;
  }
}

void EnvelopeOpener::forget_all() {
  const std::scoped_lock lock(mutex_);
  order_.clear();
  by_key_.clear();
  bytes_ = 0;
}

std::size_t EnvelopeOpener::entries() const {
  const std::scoped_lock lock(mutex_);
  return order_.size();
}

std::size_t EnvelopeOpener::bytes() const {
  const std::scoped_lock lock(mutex_);
  return bytes_;
}

}  // namespace alga::vault
