#include <gtest/gtest.h>

#include "async/spawn.h"
#include "gateway/memory_idempotency.h"
#include "gateway/method_tunnel.h"

namespace alga::gateway {
namespace {

using Claim = domain::IdempotencyClaim::Kind;

TEST(MethodTunnel, LeavesOtherRequestsAlone) {
  const auto same = [](std::string method, std::string query, std::optional<std::string> body,
                       std::string type) {
    const auto out = untunnel({method, query, body}, type);
    return out && out->method == method && out->query == query && out->body == body;
  };
  EXPECT_TRUE(same("GET", "__method=PUT", std::nullopt, ""));
  EXPECT_TRUE(same("POST", "x__method=PUT", "{\"__method\":\"PUT\"}", "text/plain"));
  EXPECT_TRUE(same("POST", "", "{\"a\":{\"__method\":\"PUT\"}}", "application/json"));
  EXPECT_TRUE(same("POST", "", "[\"__method\"]", "application/json"));
  EXPECT_TRUE(same("POST", "", "{\"__method\":", "application/json"));
}

TEST(MethodTunnel, TakesTheMarkerOutAndNothingElse) {
  const auto body = [](std::string text) {
    return untunnel({"POST", "", std::move(text)}, "application/json; charset=utf-8")->body;
  };
  EXPECT_EQ(body(R"({"__method":"PUT","a":1e400x"})"), R"({"__method":"PUT","a":1e400x"})");
  EXPECT_EQ(body(R"({"__method":"PUT","big":12345678901234567890,"f":1.50})"),
            R"({"big":12345678901234567890,"f":1.50})");
  EXPECT_EQ(body(R"({ "a": "x,\"}", "__method" : "PUT" , "b":[1,{"c":2}] })"),
            R"({ "a": "x,\"}",  "b":[1,{"c":2}] })");
  EXPECT_EQ(body(R"({"a":{"b":1}, "__method":"PATCH"})"), R"({"a":{"b":1}})");
  EXPECT_EQ(body(R"({"__method":"DELETE"})"), std::nullopt);
  EXPECT_FALSE(untunnel({"POST", "", R"({"__method":7})"}, "application/json"));
}

class Idempotency : public ::testing::Test {
 protected:
  static domain::IdempotencyScope scope(std::string key) {
    return {*TenantId::parse("t1"), *InstallId::parse("i1"), "tenant_user u1", "POST /a",
            std::move(key)};
  }
  Claim claim(MemoryIdempotency& store, const std::string& key, const std::string& digest = "d") {
    return async::block_on(store.claim(scope(key), digest, std::chrono::seconds(40)))->kind;
  }
  static void complete(MemoryIdempotency& store, const std::string& key, std::size_t size = 10) {
    ASSERT_TRUE(async::block_on(
        store.complete(scope(key), "d", {.status = 200, .body = std::string(size, 'x')})));
  }
  ManualClock clock_;
};

TEST_F(Idempotency, ReplaysUntilItForgets) {
  MemoryIdempotency store({.life = std::chrono::minutes(10)}, clock_);
  EXPECT_EQ(claim(store, "k"), Claim::fresh);
  EXPECT_EQ(claim(store, "k"), Claim::in_progress);
  EXPECT_EQ(claim(store, "k", "other"), Claim::mismatch);
  complete(store, "k");
  EXPECT_EQ(claim(store, "k"), Claim::replay);
  EXPECT_EQ(claim(store, "k", "other"), Claim::mismatch);
  clock_.advance(std::chrono::minutes(10));
  EXPECT_EQ(claim(store, "k"), Claim::fresh);
}

TEST_F(Idempotency, EndsAClaimThatNobodyFinished) {
  MemoryIdempotency store({}, clock_);
  EXPECT_EQ(claim(store, "k"), Claim::fresh);
  clock_.advance(std::chrono::seconds(40));
  EXPECT_EQ(claim(store, "k"), Claim::fresh);
}

TEST_F(Idempotency, StaysWithinItsBounds) {
  MemoryIdempotency store({.max_entries = 3, .max_bytes = 1000, .max_answer_bytes = 300}, clock_);
  for (int i = 0; i < 10; ++i) {
    const std::string key = "k" + std::to_string(i);
    EXPECT_EQ(claim(store, key), Claim::fresh);
    complete(store, key, 200);
  }
  EXPECT_LE(store.entries(), 3U);
  EXPECT_LE(store.bytes(), 1000U);
  EXPECT_EQ(claim(store, "k9"), Claim::replay);
  EXPECT_EQ(claim(store, "k0"), Claim::fresh);
  complete(store, "k0", 301);
  EXPECT_EQ(claim(store, "k0"), Claim::fresh) << "too large to be kept";
}

TEST_F(Idempotency, RefusesNewKeysWhenAllAreRunning) {
  MemoryIdempotency store({.max_entries = 2}, clock_);
  EXPECT_EQ(claim(store, "a"), Claim::fresh);
  EXPECT_EQ(claim(store, "b"), Claim::fresh);
  const auto third = async::block_on(store.claim(scope("c"), "d", std::chrono::seconds(1)));
  EXPECT_EQ(third.error().code, "idempotency.unavailable");
}

}  // namespace
}  // namespace alga::gateway
