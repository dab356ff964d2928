#include "vault/envelope_opener.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <thread>

#include "domain/broker_token.h"
#include "vault/key_ring.h"
#include "vault/testing.h"
#include "vault/testing_vault.h"
#include "vault/vault_engines.h"
#include "vault/vault_login.h"

namespace alga::vault {
namespace {

using domain::EnvelopeBinding;
using domain::SecretEnvelope;
using domain::SecretMap;

class FakeBroker final : public SecretBroker {
 public:
  Result<BrokeredSecrets> redeem(const SecretEnvelope&, const EnvelopeBinding&) override {
    ++redeemed;
    if (refuse) return fail(Kind::denied, "secret.token_refused", "no");
    return BrokeredSecrets{crypto::LockedBytes::copy_of(as_bytes(R"({"k":"brokered"})")), version};
  }
  std::string version = "v1";
  int redeemed = 0;
  bool refuse = false;
};

class Opener : public ::testing::Test {
 protected:
  Opener() {
    auto keys = std::make_shared<domain::SealingKeys>();
    keys->add("k1", *crypto::AeadKey::from_bytes(key_.reveal()));
    keys_ = std::move(keys);
    make({});
  }
  void make(EnvelopeOpener::Options options) {
    opener_ = std::make_unique<EnvelopeOpener>(
        std::move(options), EnvelopeOpener::Dependencies{clock_, metrics_, [this] { return keys_; },
                                                         [this](const TenantId& tenant, auto job) {
                                                           line_ = tenant.str();
                                                           if (pool_full_) return false;
                                                           jobs_.push_back(std::move(job));
                                                           return true;
                                                         },
                                                         &transit_, &broker_});
  }
  SecretEnvelope seal(std::string_view value, std::string_view version = "v1",
                      std::chrono::seconds life = std::chrono::seconds(300)) {
    const auto map = SecretMap::from_pairs({{"k", value}});
    return *domain::seal_envelope(*map, binding_, version, key_, "k1", clock_.wall() + life);
  }
  /// The same for another install of the tenant.
  SecretEnvelope seal_for(const EnvelopeBinding& binding, std::string_view value) {
    const auto map = SecretMap::from_pairs({{"k", value}});
    return *domain::seal_envelope(*map, binding, "v1", key_, "k1",
                                  clock_.wall() + std::chrono::seconds(300));
  }
  static EnvelopeBinding install(int number) {
    return {*TenantId::parse("t1"), *InstallId::parse("i" + std::to_string(number))};
  }
  SecretEnvelope transit_envelope(std::string_view value, bool bound = true) {
    SecretEnvelope envelope;
    envelope.version = "v1";
    envelope.algorithm = "vault-transit:v1";
    envelope.key_path = "alga";
    envelope.expires_at = format_rfc3339(clock_.wall() + std::chrono::seconds(300));
    const std::string json = R"({"k":")" + std::string(value) + R"("})";
    envelope.ciphertext_b64 =
        *transit_.encrypt("transit", "alga", as_bytes(json),
                          bound ? envelope_context(binding_, envelope) : std::string{});
    return envelope;
  }
  SecretEnvelope broker_envelope(std::string token) {
    SecretEnvelope envelope;
    envelope.version = "v1";
    envelope.algorithm = "broker-token:v1";
    envelope.key_id = "b1";
    envelope.expires_at = format_rfc3339(clock_.wall() + std::chrono::seconds(10));
    envelope.ciphertext_b64 = std::move(token);
    return envelope;
  }
  void run_jobs() {
    while (!jobs_.empty()) {
      auto job = std::move(jobs_.front());
      jobs_.pop_front();
      job();
    }
  }
  /// The value of `k`, or the code of the refusal.
  std::string open(const SecretEnvelope& envelope, const EnvelopeBinding& binding) {
    std::string answer = "no answer";
    opener_->open(envelope, binding, [&answer](Result<std::shared_ptr<const SecretMap>> map) {
      answer =
          map ? std::string((*map)->reveal("k").value_or("absent")) : std::string(map.error().code);
    });
    run_jobs();
    return answer;
  }
  std::string open(const SecretEnvelope& envelope) { return open(envelope, binding_); }

  ManualClock clock_;
  NoMetrics metrics_;
  crypto::AeadKey key_ = crypto::AeadKey::generate();
  std::shared_ptr<const domain::SealingKeys> keys_;
  EnvelopeBinding binding_{*TenantId::parse("t1"), *InstallId::parse("i1")};
  EnvelopeBinding foreign_{*TenantId::parse("t2"), *InstallId::parse("i1")};
  testing::FakeVault vault_;
  VaultClient client_{{.address = "http://vault.test:8200", .attempts = 1},
                      std::make_unique<StaticToken>(Secret("root")),
                      vault_,
                      clock_};
  VaultTransit transit_{client_};
  FakeBroker broker_;
  std::string line_;  ///< of the last job
  bool pool_full_ = false;
  std::deque<std::move_only_function<void()>> jobs_;
  std::unique_ptr<EnvelopeOpener> opener_;
};

TEST_F(Opener, OpensASealedEnvelopeAtOnceAndKeepsIt) {
  const SecretEnvelope envelope = seal("value");
  EXPECT_EQ(open(envelope), "value");
  EXPECT_EQ(opener_->entries(), 1U);
  keys_ = nullptr;
  EXPECT_EQ(open(envelope), "value") << "from the cache";
  clock_.advance(std::chrono::seconds(30));
  EXPECT_EQ(open(envelope), "secret.unknown_key") << "its time is over";
}

TEST_F(Opener, DoesNotTakeAHitForAnotherCiphertextOfTheSameVersion) {
  ASSERT_EQ(open(seal("first")), "first");
  EXPECT_EQ(open(seal("second")), "second");
  SecretEnvelope altered = seal("third");
  altered.ciphertext_b64[10] = altered.ciphertext_b64[10] == 'A' ? 'B' : 'A';
  EXPECT_EQ(open(altered), "secret.altered");
}

TEST_F(Opener, GivesNobodyTheSecretsOfAnotherInstall) {
  const SecretEnvelope envelope = seal("value");
  ASSERT_EQ(open(envelope), "value");
  EXPECT_EQ(open(envelope, foreign_), "secret.altered");
  EXPECT_EQ(open(envelope, {binding_.tenant, *InstallId::parse("i2")}), "secret.altered");
}

TEST_F(Opener, RefusesAnExpiredEnvelopeThoughItIsCached) {
  const SecretEnvelope envelope = seal("value", "v1", std::chrono::seconds(5));
  ASSERT_EQ(open(envelope), "value");
  clock_.advance(std::chrono::seconds(6));
  EXPECT_EQ(open(envelope), "secret.expired");
}

TEST_F(Opener, SeesTheNewVersionAtOnce) {
  ASSERT_EQ(open(seal("old", "v1")), "old");
  EXPECT_EQ(open(seal("new", "v2")), "new");
}

TEST_F(Opener, KeepsNothingOfAValueThatWasReplaced) {
  ASSERT_EQ(open(seal_for(install(2), "other"), install(2)), "other");
  ASSERT_EQ(open(seal("old", "v1")), "old");
  ASSERT_EQ(open(seal("new", "v2")), "new");
  EXPECT_EQ(opener_->entries(), 2U) << "the new one, and that of the other install";
}

TEST_F(Opener, ForgetsIdlePlaintextThoughNobodyComes) {
  ASSERT_EQ(open(seal("x", "v1")), "x");
  clock_.advance(std::chrono::seconds(29));
  opener_->forget_idle();
  EXPECT_EQ(opener_->entries(), 1U);
  clock_.advance(std::chrono::seconds(1));
  opener_->forget_idle();
  EXPECT_EQ(opener_->entries(), 0U);
}

TEST_F(Opener, SweepsByItselfWhenItIsTold) {
  make({.sweep_every = std::chrono::milliseconds(1)});
  ASSERT_EQ(open(seal("x", "v1")), "x");
  clock_.advance(std::chrono::seconds(31));
  for (int i = 0; i < 5000 && opener_->entries() != 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_EQ(opener_->entries(), 0U);
}

TEST_F(Opener, RefusesInlineUnlessTheOperatorAllowsIt) {
  SecretEnvelope envelope;
  envelope.ciphertext_b64 = base64_encode(as_bytes(R"({"k":"plain"})"));
  EXPECT_EQ(open(envelope), "secret.inline_not_allowed");
  make({.policy = {.allow_inline = true}});
  EXPECT_EQ(open(envelope), "plain");
  envelope.algorithm = "aes-gcm";
  EXPECT_EQ(open(envelope), "secret.unknown_algorithm") << "no downgrade";
}

TEST_F(Opener, OpensATransitEnvelopeOnceForAThousandCallers) {
  const SecretEnvelope envelope = transit_envelope("from vault");
  int served = 0;
  for (int i = 0; i < 1000; ++i) {
    opener_->open(envelope, binding_, [&served](Result<std::shared_ptr<const SecretMap>> map) {
      if (map && (*map)->reveal("k") == "from vault") ++served;
    });
  }
  EXPECT_EQ(jobs_.size(), 1U);
  run_jobs();
  EXPECT_EQ(served, 1000);
  EXPECT_EQ(vault_.decrypts, 1);
  EXPECT_EQ(open(envelope), "from vault");
  EXPECT_EQ(vault_.decrypts, 1) << "from the cache";
}

TEST_F(Opener, RefusesATransitEnvelopeOfAnotherInstall) {
  EXPECT_EQ(open(transit_envelope("value"), foreign_), "secret.altered");
}

TEST_F(Opener, TakesUnboundTransitOnlyWhenTheOperatorAllowsIt) {
  const SecretEnvelope envelope = transit_envelope("legacy", false);
  EXPECT_EQ(open(envelope), "secret.altered");
  make({.allow_unbound_transit = true});
  EXPECT_EQ(open(envelope), "legacy");
}

TEST_F(Opener, RefusesMountsThatAreNotConfigured) {
  SecretEnvelope envelope = transit_envelope("value");
  envelope.mount = "elsewhere";
  EXPECT_EQ(open(envelope), "secret.mount_not_allowed");
  envelope.mount = "../sys";
  EXPECT_EQ(open(envelope), "secret.malformed");
  envelope = transit_envelope("value");
  envelope.key_path = "../alga";
  EXPECT_EQ(open(envelope), "secret.malformed");
  EXPECT_EQ(vault_.decrypts, 0);
}

TEST_F(Opener, TellsVaultTroubleFromARefusalAndTriesAgainLater) {
  const SecretEnvelope envelope = transit_envelope("value");
  vault_.sealed = true;
  EXPECT_EQ(open(envelope), "vault.sealed");
  vault_.sealed = false;
  EXPECT_EQ(open(envelope), "value") << "a failure is not remembered";
}

TEST_F(Opener, AnswersWhenThePoolIsFull) {
  pool_full_ = true;
  EXPECT_EQ(open(transit_envelope("value")), "secret.overload");
  EXPECT_EQ(line_, binding_.tenant.str()) << "tenants wait in lines of their own";
}

TEST_F(Opener, RedeemsEachBrokerTokenItselfAndOnce) {
  EXPECT_EQ(open(broker_envelope("token-1")), "brokered");
  EXPECT_EQ(open(broker_envelope("token-1")), "brokered");
  EXPECT_EQ(broker_.redeemed, 1);
  EXPECT_EQ(open(broker_envelope("token-2")), "brokered");
  EXPECT_EQ(broker_.redeemed, 2);
}

TEST_F(Opener, RedeemsOneTokenForAllOfAVersionWhenItKnowsTheBrokersKeys) {
  const auto key = crypto::SigningKey::generate();
  opener_->trust_broker_keys({key.public_key()});
  const auto life = std::chrono::seconds(10);
  const auto signed_by = [&](const crypto::SigningKey& signer, const EnvelopeBinding& binding,
                             const char* version, std::chrono::seconds ends) {
    return domain::sign_broker_token({.id = "token",
                                      .tenant = binding.tenant,
                                      .install = binding.install,
                                      .version = version,
                                      .issued = clock_.wall(),
                                      .expires = clock_.wall() + ends},
                                     signer);
  };
  const std::string good = signed_by(key, binding_, "v1", life);
  EXPECT_EQ(open(broker_envelope(good)), "brokered");
  EXPECT_EQ(open(broker_envelope(signed_by(key, binding_, "v1", life))), "brokered");
  EXPECT_EQ(broker_.redeemed, 1);

  std::string altered = good;
  altered[altered.find('.') + 5] ^= 1;
  const std::string judged[] = {altered,
                                signed_by(crypto::SigningKey::generate(), binding_, "v1", life),
                                signed_by(key, install(2), "v1", life),
                                signed_by(key, binding_, "v0", life),
                                signed_by(key, binding_, "v1", std::chrono::seconds(11)),
                                "made up",
                                ""};
  broker_.refuse = true;
  for (const std::string& token : judged) {
    const int before = broker_.redeemed;
    EXPECT_EQ(open(broker_envelope(token)),
              token.empty() ? "secret.malformed" : "secret.token_refused")
        << token;
    EXPECT_EQ(broker_.redeemed, before + (token.empty() ? 0 : 1)) << "the broker judges: " << token;
  }
  opener_->trust_broker_keys({});
  EXPECT_EQ(open(broker_envelope(signed_by(key, binding_, "v1", life))), "brokered")
      << "byte for byte the one that was redeemed";
  clock_.advance(std::chrono::seconds(1));
  EXPECT_EQ(open(broker_envelope(signed_by(key, binding_, "v1", life))), "secret.token_refused");
}

TEST_F(Opener, RefusesAnAlteredTokenThoughItsSecretsAreOpen) {
  EXPECT_EQ(open(broker_envelope("token-1")), "brokered");
  broker_.refuse = true;
  EXPECT_EQ(open(broker_envelope("token-l")), "secret.token_refused");
  SecretEnvelope longer = broker_envelope("token-1");
  longer.expires_at = format_rfc3339(clock_.wall() + std::chrono::seconds(100));
  EXPECT_EQ(open(longer), "secret.token_refused") << "nobody vouches for another expiry";
  EXPECT_EQ(open(broker_envelope("token-1")), "brokered") << "what was redeemed is still open";
  opener_->forget(binding_);
  EXPECT_EQ(open(broker_envelope("token-1")), "secret.token_refused");
}

TEST_F(Opener, OpensARepetitionWithATokenOfItsOwnAfterAnotherRunnersTokenWasRefused) {
  // The token belongs to the runner that redeemed it first; a caller who comes again has a new one.
  broker_.refuse = true;
  EXPECT_EQ(open(broker_envelope("taken")), "secret.token_refused");
  EXPECT_EQ(open(broker_envelope("taken")), "secret.token_refused") << "and it is asked each time";
  EXPECT_EQ(broker_.redeemed, 2);
  EXPECT_EQ(opener_->entries(), 0U);
  broker_.refuse = false;
  EXPECT_EQ(open(broker_envelope("fresh")), "brokered");
  EXPECT_EQ(broker_.redeemed, 3);
}

TEST_F(Opener, DoesNotKeepWhatTheBrokerGivesForANewerVersion) {
  broker_.version = "v2";
  EXPECT_EQ(open(broker_envelope("token-1")), "brokered");
  EXPECT_EQ(open(broker_envelope("token-2")), "brokered");
  EXPECT_EQ(broker_.redeemed, 2);
  EXPECT_EQ(opener_->entries(), 0U);
}

TEST_F(Opener, SaysWhatIsNotConfigured) {
  EnvelopeOpener bare({}, {clock_, metrics_, {}, [](const TenantId&, auto job) {
                             job();
                             return true;
                           }});
  const auto ask = [&](const SecretEnvelope& envelope) {
    std::string code;
    bare.open(envelope, binding_, [&code](auto map) { code = map.error().code; });
    return code;
  };
  EXPECT_EQ(ask(seal("x")), "secret.unknown_key");
  EXPECT_EQ(ask(transit_envelope("x")), "secret.no_transit");
  EXPECT_EQ(ask(broker_envelope("x")), "secret.no_broker");
}

TEST_F(Opener, StaysWithinItsBounds) {
  make({.max_entries = 3});
  for (int i = 0; i < 10; ++i) ASSERT_EQ(open(seal_for(install(i), "x"), install(i)), "x");
  EXPECT_EQ(opener_->entries(), 3U);
  make({.max_bytes = 1});
  ASSERT_EQ(open(seal("x")), "x");
  EXPECT_EQ(opener_->entries(), 0U);
  EXPECT_EQ(opener_->bytes(), 0U);
}

TEST_F(Opener, GivesUpTheLeastRecentlyUsedAndNotTheOldest) {
  make({.max_entries = 3});
  std::vector<SecretEnvelope> envelopes;
  for (int i = 0; i < 4; ++i) envelopes.push_back(seal_for(install(i), "x" + std::to_string(i)));
  const auto ask = [&](int i) { return open(envelopes[static_cast<std::size_t>(i)], install(i)); };
  for (int i = 0; i < 3; ++i) ASSERT_EQ(ask(i), "x" + std::to_string(i));
  ASSERT_EQ(ask(0), "x0") << "the oldest one is used once more";
  ASSERT_EQ(ask(3), "x3") << "one beyond the bound";
  EXPECT_EQ(opener_->entries(), 3U);
  keys_ = nullptr;  // from here on only what is kept can be opened
  EXPECT_EQ(ask(1), "secret.unknown_key") << "nobody has asked for it for the longest time";
  EXPECT_EQ(ask(0), "x0");
  EXPECT_EQ(ask(2), "x2");
  EXPECT_EQ(ask(3), "x3");
}

TEST_F(Opener, ForgetsIdlePlaintextWhenOthersCome) {
  ASSERT_EQ(open(seal("x", "v1")), "x");
  clock_.advance(std::chrono::seconds(31));
  ASSERT_EQ(open(seal_for(install(2), "x"), install(2)), "x");
  EXPECT_EQ(opener_->entries(), 1U);
  opener_->forget_all();
  EXPECT_EQ(opener_->entries(), 0U);
}

class Ring : public ::testing::Test {
 protected:
  testing::MemorySecrets secrets_;
};

TEST_F(Ring, IsMadeOnceAndFoundAgain) {
  const auto first = load_or_make_key_ring(secrets_, envelope_keys_secret);
  const auto second = load_or_make_key_ring(secrets_, envelope_keys_secret);
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first->current, second->current);
  EXPECT_TRUE(std::ranges::equal(first->keys.begin()->second.reveal(),
                                 second->keys.begin()->second.reveal()));
}

TEST_F(Ring, IsNotMadeAnewWhenTheProviderFailsOrItIsDamaged) {
  secrets_.fail_with(Error{Kind::unavailable, "vault.sealed", "sealed"});
  EXPECT_EQ(load_or_make_key_ring(secrets_, "r").error().code, "vault.sealed");
  secrets_.fail_with(std::nullopt);
  EXPECT_EQ(load_key_ring(secrets_, "r").error().code, "keys.unknown_key");
  for (const char* text : {"x", "{}", R"({"current":"a","keys":{}})",
                           R"({"current":"a","keys":{"a":"c2hvcnQ="}})", "[]"}) {
    ASSERT_TRUE(secrets_.set_app_secret("r", Secret(text)));
    EXPECT_EQ(load_or_make_key_ring(secrets_, "r").error().code, "keys.malformed") << text;
  }
}

TEST_F(Ring, WrapsBindsRotatesAndStillUnwraps) {
  auto keys = LocalKeyProvider::open(secrets_);
  ASSERT_TRUE(keys);
  const auto wrapped = (*keys)->wrap(as_bytes("data key"), "tenant");
  EXPECT_EQ((*keys)->unwrap(*wrapped, "tenant")->reveal_text(), "data key");
  EXPECT_EQ((*keys)->unwrap(*wrapped, "other").error().code, "keys.unwrap_failed");
  const auto rotated = (*keys)->rotate();
  ASSERT_TRUE(rotated);
  EXPECT_NE(*rotated, wrapped->key_id);
  EXPECT_EQ(*(*keys)->current_key_id(), *rotated);
  EXPECT_EQ((*keys)->unwrap(*wrapped, "tenant")->reveal_text(), "data key");
  EXPECT_EQ((*keys)->unwrap({"gone", "x"}, "tenant").error().code, "keys.unknown_key");
}

TEST_F(Ring, FollowsARotationOfAnotherProcess) {
  auto ours = *LocalKeyProvider::open(secrets_);
  auto theirs = *LocalKeyProvider::open(secrets_);
  ASSERT_TRUE(theirs->rotate());
  const auto wrapped = theirs->wrap(as_bytes("k"), "c");
  EXPECT_EQ(ours->unwrap(*wrapped, "c")->reveal_text(), "k");
  secrets_.fail_with(Error{Kind::unavailable, "vault.unavailable", "down"});
  EXPECT_EQ(ours->rotate().error().code, "keys.unavailable");
}

}  // namespace
}  // namespace alga::vault
