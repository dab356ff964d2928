#include "app/ground.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>

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

TEST(SigningKeyOfTheApplication, IsNotCalledReplacedWhenItIsNot) {
  Shadowed secrets;
  ASSERT_TRUE(load_or_make_signing_key(secrets.first, "key"));
  const auto replaced = replace_signing_key(secrets, "key");
  ASSERT_FALSE(replaced);
  EXPECT_EQ(replaced.error().code, "keys.shadowed");
}

}  // namespace
}  // namespace alga::app
