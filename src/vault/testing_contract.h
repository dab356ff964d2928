#pragma once

#include <gtest/gtest.h>

#include <string>

#include "vault/vault_client.h"
#include "vault/vault_engines.h"
#include "vault/vault_login.h"

/// What this layer relies on in a Vault server; run against the fake and, where one can be started,
/// against a real server. The server has a transit key `alga` at `transit` and KV v2 at `kv`.
namespace alga::vault::testing {

inline void expect_vault(Transport& transport, const Clock& clock, const std::string& address,
                         const std::string& token) {
  const VaultClient::Options options{.address = address};
  VaultClient client(options, std::make_unique<StaticToken>(Secret(token)), transport, clock);
  ASSERT_TRUE(client.probe());

  // Transit binds what it encrypts to its context.
  VaultTransit transit(client);
  const auto first = transit.encrypt("transit", "alga", as_bytes("plain"), "context");
  ASSERT_TRUE(first) << first.error().message;
  EXPECT_TRUE(first->starts_with("vault:v1:"));
  EXPECT_EQ(transit.decrypt("transit", "alga", *first, "context")->reveal_text(), "plain");
  EXPECT_EQ(transit.decrypt("transit", "alga", *first, "other").error().code, "vault.bad_request");
  EXPECT_EQ(transit.decrypt("transit", "alga", *first, "").error().code, "vault.bad_request");
  std::string flipped = *first;
  char& victim = flipped[flipped.size() - 6];
  victim = victim == 'A' ? 'B' : 'A';
  EXPECT_EQ(transit.decrypt("transit", "alga", flipped, "context").error().code,
            "vault.bad_request");
  const auto unbound = transit.encrypt("transit", "alga", as_bytes("plain"), "");
  EXPECT_EQ(transit.decrypt("transit", "alga", *unbound, "")->reveal_text(), "plain");
  EXPECT_EQ(transit.decrypt("transit", "no-such-key", *first, "").error().code,
            "vault.bad_request");
  EXPECT_EQ(transit.latest_version("transit", "no-such-key").error().code, "vault.not_found");

  // After a rotation old ciphertext still opens.
  VaultKeyProvider keys(transit, "transit", "alga");
  const auto before = keys.current_key_id();
  const auto wrapped = keys.wrap(as_bytes("data key"), "tenant");
  ASSERT_TRUE(before && wrapped);
  EXPECT_EQ(wrapped->key_id, *before);
  const auto rotated = keys.rotate();
  ASSERT_TRUE(rotated) << rotated.error().message;
  EXPECT_NE(*rotated, *before);
  EXPECT_EQ(keys.wrap(as_bytes("x"), "tenant")->key_id, *rotated);
  EXPECT_EQ(keys.unwrap(*wrapped, "tenant")->reveal_text(), "data key");
  EXPECT_EQ(keys.unwrap(*wrapped, "another").error().code, "keys.unwrap_failed");

  // KV keeps what other writers wrote and forgets single secrets.
  auto secrets = VaultSecrets::make({}, client, clock);
  ASSERT_TRUE(secrets);
  const TenantId tenant = *TenantId::parse("t1");
  EXPECT_FALSE((*secrets)->app_secret("a")->has_value());
  ASSERT_TRUE((*secrets)->set_app_secret("a", Secret("1")));
  ASSERT_TRUE((*secrets)->set_app_secret("b", Secret("2")));
  ASSERT_TRUE((*secrets)->set_tenant_secret(tenant, "a", Secret("tenant's")));
  EXPECT_EQ((*secrets)->app_secret("a")->value().reveal(), "1");
  EXPECT_EQ((*secrets)->app_secret("b")->value().reveal(), "2");
  EXPECT_EQ((*secrets)->tenant_secret(tenant, "a")->value().reveal(), "tenant's");
  ASSERT_TRUE((*secrets)->set_app_secret("a", std::nullopt));
  EXPECT_FALSE((*secrets)->app_secret("a")->has_value());
  EXPECT_TRUE((*secrets)->app_secret("b")->has_value());
  const json::Value stale = boost::json::object{{"options", {{"cas", 1}}}, {"data", {{"a", "x"}}}};
  EXPECT_EQ(client.call("POST", "kv/data/app/secrets", &stale).error().code, "vault.cas_conflict");

  // Wrong credentials are refused.
  VaultClient stranger(options, std::make_unique<StaticToken>(Secret("wrong")), transport, clock);
  EXPECT_EQ(stranger.call("GET", "kv/data/app/secrets").error().code, "vault.denied");
}

}  // namespace alga::vault::testing
