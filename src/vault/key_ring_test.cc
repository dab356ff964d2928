#include "vault/key_ring.h"

#include <gtest/gtest.h>

#include <barrier>
#include <filesystem>
#include <functional>
#include <set>
#include <thread>
#include <vector>

#include "base/random.h"
#include "vault/providers.h"
#include "vault/testing.h"
#include "vault/testing_vault.h"
#include "vault/vault_engines.h"
#include "vault/vault_login.h"

namespace alga::vault {
namespace {

/// Hosts that share a folder of secrets, each with a provider of its own.
class KeyRingOfManyHosts : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "alga-ring-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  /// Runs `work` on every host at the same time.
  void at_once(const std::function<void(FileSecrets&, std::size_t)>& work) {
    std::barrier start(kHosts);
    std::vector<std::jthread> hosts;
    for (std::size_t host = 0; host < kHosts; ++host) {
      hosts.emplace_back([&, host] {
        FileSecrets secrets(folder_ / "secrets", random_);
        start.arrive_and_wait();
        work(secrets, host);
      });
    }
  }

  static constexpr std::size_t kHosts = 8;
  std::filesystem::path folder_;
  SystemRandom random_;
};

TEST_F(KeyRingOfManyHosts, IsMadeOnceWhenAllStartTogether) {
  for (int round = 0; round < 20; ++round) {
    const std::string name = "ring" + std::to_string(round);
    std::vector<std::string> current(kHosts);
    at_once([&](FileSecrets& secrets, std::size_t host) {
      auto ring = load_or_make_key_ring(secrets, name);
      ASSERT_TRUE(ring) << ring.error().message;
      current[host] = ring->current;
    });
    EXPECT_EQ(std::set(current.begin(), current.end()).size(), 1U)
        << "what one of them wrapped at once, another one could not unwrap";
  }
}

TEST_F(KeyRingOfManyHosts, LosesNoKeyWhenAllRotateTogether) {
  FileSecrets reader(folder_ / "secrets", random_);
  ASSERT_TRUE(load_or_make_key_ring(reader, "ring"));
  constexpr std::size_t kRotations = 5;
  std::vector<std::vector<std::string>> made(kHosts);
  at_once([&](FileSecrets& secrets, std::size_t host) {
    for (std::size_t i = 0; i < kRotations; ++i) {
      auto ring = rotate_key_ring(secrets, "ring");
      ASSERT_TRUE(ring) << ring.error().message;
      made[host].push_back(ring->current);
    }
  });
  const auto ring = load_key_ring(reader, "ring");
  ASSERT_TRUE(ring);
  for (const auto& ids : made) {
    for (const std::string& id : ids) EXPECT_TRUE(ring->keys.contains(id)) << "lost " << id;
  }
  EXPECT_EQ(ring->keys.size(), 1 + kHosts * kRotations);
}

std::string text(Result<std::optional<Secret>> secret) {
  if (!secret) return "error " + std::string(secret.error().code);
  return *secret ? std::string((*secret)->reveal()) : "none";
}

/// What every provider that can be written promises.
void expect_replaces_only_what_is_expected(domain::SecretProvider& secrets) {
  EXPECT_FALSE(*secrets.replace_app_secret("k", Secret("other"), Secret("v")));
  EXPECT_EQ(text(secrets.app_secret("k")), "none");
  EXPECT_TRUE(*secrets.replace_app_secret("k", std::nullopt, Secret("one")));
  EXPECT_FALSE(*secrets.replace_app_secret("k", std::nullopt, Secret("two")));
  EXPECT_FALSE(*secrets.replace_app_secret("k", Secret("other"), Secret("two")));
  EXPECT_EQ(text(secrets.app_secret("k")), "one");
  EXPECT_TRUE(*secrets.replace_app_secret("k", Secret("one"), Secret("two")));
  EXPECT_EQ(text(secrets.app_secret("k")), "two");
}

TEST_F(KeyRingOfManyHosts, StandsOnProvidersThatReplaceOnlyWhatIsExpected) {
  FileSecrets files(folder_ / "secrets", random_);
  expect_replaces_only_what_is_expected(files);
  testing::MemorySecrets memory;
  expect_replaces_only_what_is_expected(memory);
  auto behind = std::make_shared<testing::MemorySecrets>();
  SecretChain chain({std::make_shared<testing::MemorySecrets>(), behind}, behind, {});
  expect_replaces_only_what_is_expected(chain);

  ManualClock clock;
  testing::FakeVault server;
  VaultClient client({.address = "http://vault.test:8200", .attempts = 1},
                     std::make_unique<StaticToken>(Secret("root")), server, clock);
  auto vault = VaultSecrets::make({}, client, clock);
  ASSERT_TRUE(vault);
  expect_replaces_only_what_is_expected(**vault);
  // Another writer of the same entry, whom the first one's copy of a second does not know of.
  auto other = VaultSecrets::make({}, client, clock);
  EXPECT_TRUE(*(*other)->replace_app_secret("k", Secret("two"), Secret("three")));
  EXPECT_FALSE(*(*vault)->replace_app_secret("k", Secret("two"), Secret("four")));
  EXPECT_EQ(text((*vault)->app_secret("k")), "three");
}

TEST_F(KeyRingOfManyHosts, ComesToTheWriterOfAChainFromOneOfItsReaders) {
  auto former = std::make_shared<testing::MemorySecrets>();
  const auto first = load_or_make_key_ring(*former, "ring");
  ASSERT_TRUE(first);
  auto writer = std::make_shared<testing::MemorySecrets>();
  SecretChain chain({writer, former}, writer, {});
  const auto rotated = rotate_key_ring(chain, "ring");
  ASSERT_TRUE(rotated) << rotated.error().message;
  EXPECT_TRUE(rotated->keys.contains(first->current));
  EXPECT_EQ(load_key_ring(*writer, "ring")->current, rotated->current);
}

}  // namespace
}  // namespace alga::vault
