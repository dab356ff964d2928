#include "app/ground.h"

#include <gtest/gtest.h>

#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "vault/testing.h"

namespace alga::app {
namespace {

TEST(SigningKeyOfTheApplication, IsMadeOnceAndReplacedWhenSomebodyAsks) {
  vault::testing::MemorySecrets secrets;
  const auto first = load_or_make_signing_key(secrets, "key");
  ASSERT_TRUE(first);
  EXPECT_EQ((*load_or_make_signing_key(secrets, "key"))->public_key().id(),
            (*first)->public_key().id());
  const auto replaced = replace_signing_key(secrets, "key");
  ASSERT_TRUE(replaced) << replaced.error().message;
  EXPECT_NE(replaced->id(), (*first)->public_key().id());
  EXPECT_EQ((*load_or_make_signing_key(secrets, "key"))->public_key().id(), replaced->id());
}

/// Secrets that another process changes just before we write.
class Contended final : public domain::SecretProvider {
 public:
  [[nodiscard]] std::string_view name() const override { return "contended"; }
  Result<std::optional<Secret>> app_secret(std::string_view name) override {
    return real.app_secret(name);
  }
  Result<std::optional<Secret>> tenant_secret(const TenantId& tenant,
                                              std::string_view name) override {
    return real.tenant_secret(tenant, name);
  }
  Status set_app_secret(std::string_view name, std::optional<Secret> value) override {
    meddle();
    return real.set_app_secret(name, std::move(value));
  }
  Status set_tenant_secret(const TenantId& tenant, std::string_view name,
                           std::optional<Secret> value) override {
    return real.set_tenant_secret(tenant, name, std::move(value));
  }
  Result<bool> replace_app_secret(std::string_view name, const std::optional<Secret>& expected,
                                  const Secret& value) override {
    meddle();
    Result<bool> replaced = real.replace_app_secret(name, expected, value);
    if (const auto once = std::exchange(later, {})) once();
    return replaced;
  }
  vault::testing::MemorySecrets real;
  std::function<void()> other;
  std::function<void()> later;  ///< just after we have written

 private:
  void meddle() {
    if (const auto once = std::exchange(other, {})) once();
  }
};

TEST(SigningKeyOfTheApplication, IsOneForTwoProcessesThatStartAtOnce) {
  Contended secrets;
  std::string theirs;
  secrets.other = [&] {
    theirs = (*load_or_make_signing_key(secrets.real, "key"))->public_key().base64();
  };
  const auto ours = load_or_make_signing_key(secrets, "key");
  ASSERT_TRUE(ours) << ours.error().message;
  EXPECT_FALSE(theirs.empty());
  EXPECT_EQ((*ours)->public_key().base64(), theirs);
  EXPECT_EQ((*load_or_make_signing_key(secrets.real, "key"))->public_key().base64(), theirs);
}

TEST(SigningKeyOfTheApplication, IsPreparedOnceByTwoWhoDoSoAtOnce) {
  Contended secrets;
  ASSERT_TRUE(load_or_make_signing_key(secrets, "key"));
  std::string theirs;
  secrets.other = [&] { theirs = prepare_signing_key(secrets.real, "key", "next")->base64(); };
  const auto ours = prepare_signing_key(secrets, "key", "next");
  ASSERT_TRUE(ours) << ours.error().message;
  EXPECT_FALSE(theirs.empty());
  EXPECT_EQ(ours->base64(), theirs) << "runners may have been told of it";
}

TEST(SigningKeyOfTheApplication, IsReplacedOverNothingButWhatWasRead) {
  Contended secrets;
  ASSERT_TRUE(load_or_make_signing_key(secrets, "key"));
  std::string theirs;
  const auto replace = [&] { theirs = replace_signing_key(secrets.real, "key")->base64(); };
  const auto current = [&] {
    return (*load_or_make_signing_key(secrets.real, "key"))->public_key().base64();
  };
  secrets.other = replace;
  const auto replaced = replace_signing_key(secrets, "key");
  ASSERT_FALSE(replaced);
  EXPECT_EQ(replaced.error().code, "keys.unavailable");
  EXPECT_EQ(current(), theirs);

  const std::string prepared = prepare_signing_key(secrets, "key", "next")->base64();
  secrets.other = replace;
  EXPECT_EQ(use_signing_key(secrets, "key", "next", prepared).error().code, "keys.unavailable");
  EXPECT_EQ(current(), theirs);
  ASSERT_TRUE(use_signing_key(secrets, "key", "next", prepared)) << "and is there to be used still";
  EXPECT_EQ(current(), prepared);
}

TEST(SigningKeyOfTheApplication, IsTakenIntoUseWithoutLosingWhatIsPreparedMeanwhile) {
  Contended secrets;
  ASSERT_TRUE(load_or_make_signing_key(secrets, "key"));
  const std::string prepared = prepare_signing_key(secrets, "key", "next")->base64();
  std::string theirs;
  secrets.later = [&] { theirs = prepare_signing_key(secrets.real, "key", "next")->base64(); };
  ASSERT_TRUE(use_signing_key(secrets, "key", "next", prepared));
  EXPECT_NE(theirs, prepared);
  EXPECT_EQ((*load_or_make_signing_key(secrets, "key"))->public_key().base64(), prepared);
  ASSERT_TRUE(use_signing_key(secrets, "key", "next", theirs))
      << "runners may have been told of it";
}

/// A chain whose first provider has the key and whose second is written to.
class Shadowed final : public domain::SecretProvider {
 public:
  [[nodiscard]] std::string_view name() const override { return "chain"; }
  Result<std::optional<Secret>> app_secret(std::string_view name) override {
    return first.app_secret(name);
  }
  Result<std::optional<Secret>> tenant_secret(const TenantId& tenant,
                                              std::string_view name) override {
    return first.tenant_secret(tenant, name);
  }
  Status set_app_secret(std::string_view name, std::optional<Secret> value) override {
    return second.set_app_secret(name, std::move(value));
  }
  Status set_tenant_secret(const TenantId& tenant, std::string_view name,
                           std::optional<Secret> value) override {
    return second.set_tenant_secret(tenant, name, std::move(value));
  }
  vault::testing::MemorySecrets first, second;
};

TEST(SigningKeyOfTheApplication, IsNotMadeAnewAtEachStartWhereNobodyReadsIt) {
  Shadowed secrets;
  const auto made = load_or_make_signing_key(secrets, "key");
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, "keys.unknown_key");
}

TEST(SigningKeyOfTheApplication, IsNotCalledReplacedWhenItIsNot) {
  Shadowed secrets;
  ASSERT_TRUE(load_or_make_signing_key(secrets.first, "key"));
  const auto replaced = replace_signing_key(secrets, "key");
  ASSERT_FALSE(replaced);
  EXPECT_EQ(replaced.error().code, "keys.shadowed");
}

TEST(SigningKeyOfTheApplication, FollowsTheFormerOneOnlyWhenSomebodySaysSo) {
  vault::testing::MemorySecrets secrets;
  const auto current = [&] {
    return (*load_or_make_signing_key(secrets, "key"))->public_key().base64();
  };
  const auto prepared = [&] { return *prepared_signing_key(secrets, "key", "next"); };
  const std::string former = current();
  EXPECT_FALSE(prepared());
  const auto made = prepare_signing_key(secrets, "key", "next");
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(current(), former) << "whoever starts now signs with the former one";
  EXPECT_EQ(prepared()->base64(), made->base64());
  EXPECT_EQ(prepare_signing_key(secrets, "key", "next")->base64(), made->base64())
      << "runners may have been told of it";

  const auto use = [&](std::string_view key) {
    return use_signing_key(secrets, "key", "next", key);
  };
  EXPECT_EQ(use("another").error().code, "keys.unknown_key");
  EXPECT_TRUE(use(former)) << "it is in use";
  EXPECT_EQ(prepared()->base64(), made->base64());
  ASSERT_TRUE(use(made->base64()));
  EXPECT_EQ(current(), made->base64());
  EXPECT_FALSE(prepared());
  EXPECT_FALSE(*secrets.app_secret("next"));
  EXPECT_TRUE(use(made->base64())) << "once more";
  EXPECT_NE(prepare_signing_key(secrets, "key", "next")->base64(), made->base64());
}

TEST(SigningKeyOfTheApplication, GoesOnWhereUsingAPreparedOneWasInterrupted) {
  vault::testing::MemorySecrets secrets;
  ASSERT_TRUE(load_or_make_signing_key(secrets, "key"));
  const std::string made = prepare_signing_key(secrets, "key", "next")->base64();
  ASSERT_TRUE(secrets.set_app_secret("key", (*secrets.app_secret("next"))->copy()));
  EXPECT_FALSE(*prepared_signing_key(secrets, "key", "next")) << "it is in use";
  ASSERT_TRUE(use_signing_key(secrets, "key", "next", made));
  EXPECT_FALSE(*secrets.app_secret("next"));
}

TEST(SigningKeyOfTheApplication, IsNotCalledPreparedOrUsedWhenItIsNot) {
  Shadowed secrets;
  ASSERT_TRUE(load_or_make_signing_key(secrets.first, "key"));
  const auto prepared = prepare_signing_key(secrets, "key", "next");
  ASSERT_FALSE(prepared);
  EXPECT_EQ(prepared.error().code, "keys.shadowed");
  const std::string made = prepare_signing_key(secrets.first, "key", "next")->base64();
  const Status used = use_signing_key(secrets, "key", "next", made);
  ASSERT_FALSE(used);
  EXPECT_EQ(used.error().code, "keys.shadowed");
}

}  // namespace
}  // namespace alga::app
