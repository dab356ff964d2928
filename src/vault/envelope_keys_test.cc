#include "vault/envelope_keys.h"

#include <gtest/gtest.h>

#include "vault/envelope_opener.h"
#include "vault/migrating_keys.h"
#include "vault/testing.h"
#include "vault/testing_vault.h"
#include "vault/transit_sealer.h"
#include "vault/vault_login.h"

namespace alga::vault {
namespace {

using domain::EnvelopeBinding;
using domain::SecretEnvelope;
using domain::SecretMap;
using testing::MemorySecrets;

SecretMap some_secrets() { return *SecretMap::from_pairs({{"k", "value"}}); }

class Sealing : public ::testing::Test {
 protected:
  /// An opener as a runner of another process has it: its own reading of the same ring.
  std::string open(EnvelopeKeys& keys, const SecretEnvelope& envelope) {
    EnvelopeOpener opener({},
                          {.clock = clock_,
                           .metrics = metrics_,
                           .sealing_keys = [&keys] { return keys.opening(); },
                           .submit =
                               [](const TenantId&, auto job) {
                                 job();
                                 return true;
                               },
                           .transit = &transit_,
                           .refresh_sealing_keys = [&keys] { keys.refresh_for_unknown_key(); }});
    std::string answer;
    opener.open(envelope, binding_, [&answer](auto map) {
      answer = map ? std::string(*(*map)->reveal("k")) : std::string(map.error().code);
    });
    return answer;
  }
  WallTime soon() const { return clock_.wall() + std::chrono::minutes(5); }

  ManualClock clock_;
  NoMetrics metrics_;
  MemorySecrets secrets_;
  EnvelopeBinding binding_{*TenantId::parse("t1"), *InstallId::parse("i1")};
  testing::FakeVault vault_;
  VaultClient client_{{.address = "http://vault.test:8200", .attempts = 1},
                      std::make_unique<StaticToken>(Secret("root")),
                      vault_,
                      clock_};
  VaultTransit transit_{client_};
};

TEST_F(Sealing, ARunnerOpensWhatARotatedRingSealsWithoutARestart) {
  EnvelopeKeys plane(secrets_, clock_);
  ASSERT_TRUE(plane.load_or_make());
  EnvelopeKeys runner(secrets_, clock_);
  ASSERT_TRUE(runner.refresh());
  RingSealer sealer(plane);
  const auto before = *sealer.seal(some_secrets(), binding_, "v1", soon());
  EXPECT_EQ(open(runner, before), "value");

  ASSERT_TRUE(rotate_key_ring(secrets_, envelope_keys_secret));
  ASSERT_TRUE(plane.refresh());
  const auto after = *sealer.seal(some_secrets(), binding_, "v2", soon());
  EXPECT_NE(after.key_id, before.key_id);
  EXPECT_EQ(open(runner, after), "value") << "it has read the ring again";
  EXPECT_EQ(open(runner, before), "value") << "the older key still opens";
}

TEST_F(Sealing, ARunnerThatStartedBeforeTheRingExistedFindsItLater) {
  EnvelopeKeys runner(secrets_, clock_);
  ASSERT_TRUE(runner.refresh());
  EnvelopeKeys plane(secrets_, clock_);
  ASSERT_TRUE(plane.load_or_make());
  EXPECT_EQ(open(runner, *RingSealer(plane).seal(some_secrets(), binding_, "v1", soon())), "value");
}

TEST_F(Sealing, UnknownKeysAskTheProviderOnceASecond) {
  EnvelopeKeys plane(secrets_, clock_);
  ASSERT_TRUE(plane.load_or_make());
  EnvelopeKeys runner(secrets_, clock_);
  SecretEnvelope envelope = *RingSealer(plane).seal(some_secrets(), binding_, "v1", soon());
  secrets_.fail_with(Error{Kind::unavailable, "vault.unavailable", "down"});
  EXPECT_EQ(open(runner, envelope), "secret.unknown_key");
  secrets_.fail_with({});
  EXPECT_EQ(open(runner, envelope), "secret.unknown_key") << "not asked again yet";
  clock_.advance(std::chrono::seconds(1));
  EXPECT_EQ(open(runner, envelope), "value");
}

TEST_F(Sealing, WithoutARingNothingIsSealed) {
  EnvelopeKeys keys(secrets_, clock_);
  ASSERT_TRUE(keys.refresh());
  EXPECT_EQ(RingSealer(keys).seal(some_secrets(), binding_, "v1", soon()).error().code,
            "keys.unknown_key");
}

TEST_F(Sealing, AProviderThatFailsNeverLeadsToANewRing) {
  secrets_.fail_with(Error{Kind::unavailable, "vault.unavailable", "down"});
  EnvelopeKeys keys(secrets_, clock_);
  EXPECT_EQ(keys.load_or_make().error().code, "vault.unavailable");
  secrets_.fail_with({});
  EXPECT_FALSE(secrets_.app_secret(envelope_keys_secret)->has_value());
}

TEST_F(Sealing, TransitEnvelopesOpenForTheirInstallVersionAndExpiryOnly) {
  TransitSealer sealer(transit_, "transit", "alga");
  EnvelopeKeys none(secrets_, clock_);
  const SecretEnvelope envelope = *sealer.seal(some_secrets(), binding_, "v1", soon());
  EXPECT_EQ(envelope.algorithm, "vault-transit:v1");
  EXPECT_EQ(envelope.key_path, "alga");
  EXPECT_EQ(envelope.mount, "transit");
  EXPECT_EQ(envelope.key_id, "alga.v1");
  EXPECT_EQ(open(none, envelope), "value");
  SecretEnvelope later = envelope;
  later.expires_at = format_rfc3339(soon() + std::chrono::minutes(1));
  EXPECT_EQ(open(none, later), "secret.altered");
  SecretEnvelope other = envelope;
  other.version = "v2";
  EXPECT_EQ(open(none, other), "secret.altered");
  binding_.install = *InstallId::parse("i2");
  EXPECT_EQ(open(none, envelope), "secret.altered");
}

TEST_F(Sealing, APreparedKeyOpensEverywhereBeforeItSeals) {
  EnvelopeKeys plane(secrets_, clock_);
  ASSERT_TRUE(plane.load_or_make());
  RingSealer sealer(plane);
  const auto old = *sealer.seal(some_secrets(), binding_, "v1", soon());
  const std::string fresh = prepare_key_of_ring(secrets_, envelope_keys_secret).value();
  ASSERT_TRUE(plane.refresh());
  EXPECT_EQ(sealer.seal(some_secrets(), binding_, "v1", soon())->key_id, old.key_id)
      << "it does not seal yet";
  // The ring is brought to a host whose runner does not share the file with the control plane.
  MemorySecrets far_secrets;
  ASSERT_TRUE(far_secrets.set_app_secret(envelope_keys_secret,
                                         std::move(**secrets_.app_secret(envelope_keys_secret))));
  EnvelopeKeys far(far_secrets, clock_);
  ASSERT_TRUE(far.refresh());
  ASSERT_TRUE(use_key_of_ring(secrets_, envelope_keys_secret, fresh));
  ASSERT_TRUE(plane.refresh());
  const auto now = *sealer.seal(some_secrets(), binding_, "v1", soon());
  EXPECT_EQ(now.key_id, fresh);
  EXPECT_EQ(open(far, now), "value") << "the runner is told nothing and opens it";
  EXPECT_EQ(open(far, old), "value") << "what was on its way too";
  EXPECT_EQ(retire_keys_of_ring(secrets_, envelope_keys_secret).value(), 1U);
  ASSERT_TRUE(plane.refresh());
  EXPECT_EQ(open(plane, now), "value");
  EXPECT_EQ(open(plane, old), "secret.unknown_key");
  EXPECT_EQ(retire_keys_of_ring(secrets_, envelope_keys_secret).value(), 0U);
  EXPECT_EQ(use_key_of_ring(secrets_, envelope_keys_secret, *old.key_id).error().code,
            "keys.unknown_key");
}

TEST_F(Sealing, TransitNamesTheVersionOfTheKeyAfterARotation) {
  TransitSealer sealer(transit_, "transit", "alga");
  ASSERT_TRUE(transit_.rotate("transit", "alga"));
  EXPECT_EQ(sealer.seal(some_secrets(), binding_, "v1", soon())->key_id, "alga.v2");
}

TEST_F(Sealing, TransitTellsAVaultThatIsAwayFromAKeyThatIsNotThere) {
  TransitSealer missing(transit_, "transit", "nothing");
  EXPECT_EQ(missing.seal(some_secrets(), binding_, "v1", soon()).error().code,
            "secret.seal_failed");
  vault_.sealed = true;
  TransitSealer sealer(transit_, "transit", "alga");
  const auto sealed = sealer.seal(some_secrets(), binding_, "v1", soon());
  EXPECT_EQ(sealed.error().code, "vault.sealed");
  EXPECT_EQ(sealed.error().kind, Kind::unavailable);
}

TEST_F(Sealing, ASlowVaultHoldsOnlyAFewCallers) {
  TransitSealer sealer(transit_, "transit", "alga", 2);
  std::string refused;
  int depth = 0;
  vault_.before_answer = [&](const domain::HttpRequest&) {
    // While Vault has not answered, more callers come.
    if (++depth > 2) return;
    const auto inner = sealer.seal(some_secrets(), binding_, "v1", soon());
    if (!inner) refused = inner.error().code;
  };
  EXPECT_TRUE(sealer.seal(some_secrets(), binding_, "v1", soon()));
  EXPECT_EQ(refused, "vault.unavailable");
  EXPECT_EQ(depth, 2) << "the third was not sent";
}

TEST_F(Sealing, AWrappingKeyMovesIntoVaultWithoutLosingWhatItWrapped) {
  auto local = *LocalKeyProvider::open(secrets_);
  const auto old = *local->wrap(as_bytes("data key"), "context");
  const auto vault_keys = [this] {
    return std::make_unique<VaultKeyProvider>(transit_, "transit", "alga");
  };
  MigratingKeyProvider keys(vault_keys(), *LocalKeyProvider::open_existing(secrets_));
  EXPECT_EQ(keys.unwrap(old, "context")->reveal_text(), "data key");
  const auto fresh = *keys.wrap(as_bytes("data key"), "context");
  EXPECT_EQ(fresh.key_id, "alga.v1");
  EXPECT_EQ(keys.unwrap(fresh, "context")->reveal_text(), "data key");
  EXPECT_EQ(keys.unwrap(fresh, "other").error().code, "keys.unwrap_failed");
  // And back.
  MigratingKeyProvider back(*LocalKeyProvider::open(secrets_), vault_keys());
  EXPECT_EQ(back.unwrap(fresh, "context")->reveal_text(), "data key");
  EXPECT_EQ(back.wrap(as_bytes("x"), "context")->key_id, old.key_id);
  // A Vault that is away is not taken for one that does not know the key.
  vault_.down = true;
  EXPECT_EQ(keys.unwrap(fresh, "context").error().code, "keys.unavailable");
  MigratingKeyProvider alone(vault_keys(), nullptr);
  EXPECT_EQ(alone.unwrap(old, "context").error().code, "keys.unknown_key");
}

TEST_F(Sealing, AKeyProviderNoticesTheRotationOfAnotherProcess) {
  auto first = *LocalKeyProvider::open(secrets_);
  auto second = *LocalKeyProvider::open(secrets_);
  const std::string rotated = *second->rotate();
  EXPECT_EQ(first->wrap(as_bytes("x"), "c")->key_id, rotated);
  EXPECT_EQ(first->unwrap(*second->wrap(as_bytes("x"), "c"), "c")->reveal_text(), "x");
}

TEST_F(Sealing, AFullRingRefusesToRotateAndStaysReadable) {
  auto keys = *LocalKeyProvider::open(secrets_);
  const auto wrapped = *keys->wrap(as_bytes("x"), "c");
  for (int i = 1; i < 100; ++i) ASSERT_TRUE(keys->rotate()) << i;
  EXPECT_EQ(keys->rotate().error().code, "keys.ring_full");
  EXPECT_EQ((*LocalKeyProvider::open(secrets_))->unwrap(wrapped, "c")->reveal_text(), "x");
}

}  // namespace
}  // namespace alga::vault
