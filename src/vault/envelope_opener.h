#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/metrics.h"
#include "crypto/sign.h"
#include "domain/ports/secret_opener.h"

namespace alga::vault {

class VaultTransit;

/// What a broker answers.
struct BrokeredSecrets {
  crypto::LockedBytes json;  ///< an object of strings
  std::string version;       ///< of these secrets; another than the envelope's after a rotation
};

/// Redeems a `broker-token:v1` at the control plane. Blocks; thread-safe. Errors:
/// `secret.token_refused`, `secret.broker_unavailable`.
class SecretBroker {
 public:
  virtual ~SecretBroker() = default;
  virtual Result<BrokeredSecrets> redeem(const domain::SecretEnvelope& envelope,
                                         const domain::EnvelopeBinding& binding) = 0;
};

/// Opens envelopes for the runner, with a small cache of opened ones in locked memory.
///
/// The cache is keyed (tenant, install, version), bounded by entries and bytes, least recently used
/// first out, and forgets after `ttl` whether or not somebody asks; of an install it holds the
/// version that was opened last, so that a rotation leaves nothing of the value before. A hit
/// counts only after the envelope's shape and expiry have been checked and when it is, by its hash,
/// the envelope that was opened, or holds a token that the broker signed for this install and
/// version (trust_broker_keys(); without its keys each token is redeemed itself). Concurrent misses
/// for one envelope are one decryption. Failures are never cached.
class EnvelopeOpener final : public domain::SecretOpener {
 public:
  struct Options {
    domain::EnvelopePolicy policy;
    std::size_t max_entries = 4'096;
    std::size_t max_bytes = 64U << 20U;  ///< of locked memory
    std::chrono::seconds ttl{30};
    /// How often what has outlived `ttl` is looked for, on a thread of the opener; 0: never, then
    /// forget_idle() is the owner's to call.
    std::chrono::milliseconds sweep_every{0};
    std::string transit_mount = "transit";  ///< for envelopes that name none
    /// Mounts that an envelope may name; empty: only `transit_mount`.
    std::vector<std::string> allowed_mounts;
    /// Accepts transit ciphertext without authenticated binding, as the reference's control plane
    /// makes it. It can then be replayed for another install by whoever can send an envelope.
    bool allow_unbound_transit = false;
  };
  struct Dependencies {
    const Clock& clock;
    Metrics& metrics;
    /// The present keys of `sealed:v1`; asked each time, so that rotation needs no restart. Must
    /// not block.
    std::function<std::shared_ptr<const domain::SealingKeys>()> sealing_keys;
    /// Runs a job that blocks, for a tenant whose line it joins (BlockingPool::submit); false when
    /// it cannot take it.
    std::function<bool(const TenantId&, std::move_only_function<void()>)> submit;
    VaultTransit* transit = nullptr;  ///< null: `secret.no_transit`
    SecretBroker* broker = nullptr;   ///< null: `secret.no_broker`
    /// Looks for new keys when an envelope names one that is not among sealing_keys(). May block
    /// and be empty.
    std::function<void()> refresh_sealing_keys;
  };

  EnvelopeOpener(Options options, Dependencies dependencies);
  /// No open() may be running and the pool must have finished our jobs.
  ~EnvelopeOpener() override;

  std::optional<Result<Map>> open_at_once(const domain::SecretEnvelope& envelope,
                                          const domain::EnvelopeBinding& binding) override;
  void open(domain::SecretEnvelope envelope, domain::EnvelopeBinding binding,
            Callback<Map> done) override;

  /// The keys by which the broker signs, in place of former ones.
  void trust_broker_keys(std::vector<crypto::PublicKey> keys);

  /// Forgets the secrets of one install, or of all.
  void forget(const domain::EnvelopeBinding& binding);
  void forget_all();
  /// Forgets what has outlived its time.
  void forget_idle();
  [[nodiscard]] std::size_t entries() const;
  [[nodiscard]] std::size_t bytes() const;

 private:
  using Done = Callback<Map>;
  struct Entry {
    std::string key;
    std::string digest;
    Map secrets;
    SteadyTime since;
  };
  using Order = std::list<Entry>;

  /// Any envelope of the version counts when `digest` is empty.
  Map find(const std::string& key, std::string_view digest);
  [[nodiscard]] bool is_of_broker(const domain::SecretEnvelope& envelope,
                                  const domain::EnvelopeBinding& binding) const;
  void keep(const std::string& key, const std::string& digest, const Map& secrets);
  void drop(Order::iterator entry);
  void drop_idle(SteadyTime now);
  void drop_install(std::string_view prefix);
  void sweep();
  void open_remotely(const std::string& key, const std::string& digest,
                     domain::EnvelopeAlgorithm algorithm, domain::SecretEnvelope envelope,
                     domain::EnvelopeBinding binding, Done done);
  void finish(const std::string& flight, Result<Map> outcome);
  [[nodiscard]] bool holds_key(const domain::SecretEnvelope& envelope) const;
  Result<domain::SecretMap> open_sealed(const domain::SecretEnvelope& envelope,
                                        const domain::EnvelopeBinding& binding);
  Result<domain::SecretMap> open_transit(const domain::SecretEnvelope& envelope,
                                         const domain::EnvelopeBinding& binding);
  struct Opened {
    domain::SecretMap secrets;
    bool keep = true;  ///< false: not what the envelope's version stands for
  };
  Result<Opened> open_now(domain::EnvelopeAlgorithm algorithm,
                          const domain::SecretEnvelope& envelope,
                          const domain::EnvelopeBinding& binding);
  Result<Opened> redeem(const domain::SecretEnvelope& envelope,
                        const domain::EnvelopeBinding& binding);

  const Options options_;
  Dependencies use_;
  Counter& hits_;
  Counter& misses_;
  Counter& failures_;

  mutable std::mutex mutex_;
  Order order_;  ///< most recently used first
  std::unordered_map<std::string, Order::iterator> by_key_;
  std::unordered_map<std::string, std::vector<Done>> flights_;
  std::size_t bytes_ = 0;
  std::shared_ptr<const std::vector<crypto::PublicKey>> broker_keys_;

  std::condition_variable stop_;
  bool stopping_ = false;
  std::thread sweeper_;
};

/// What authenticates a transit ciphertext: tenant, install, version and expiry, as for
/// `sealed:v1`.
[[nodiscard]] std::string envelope_context(const domain::EnvelopeBinding& binding,
                                           const domain::SecretEnvelope& envelope);

}  // namespace alga::vault
