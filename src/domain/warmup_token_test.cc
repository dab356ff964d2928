#include "domain/warmup_token.h"

#include <gtest/gtest.h>

#include "base/bytes.h"

namespace alga::domain {
namespace {

using namespace std::chrono_literals;

class WarmupTokenTest : public ::testing::Test {
 protected:
  WarmupTokenTest() { keys_.set_keys({key_.public_key()}); }

  std::string code_of(std::string_view token, std::string_view hash_text) {
    const Status checked =
        check_warmup(token, *ContentHash::parse(hash_text), keys_, clock_.wall());
    return checked ? "" : std::string(checked.error().code);
  }
  std::string code_of(std::string_view token) { return code_of(token, std::string(64, 'a')); }
  std::string signed_payload(const std::string& payload) {
    const std::string first = base64url_encode(as_bytes(payload));
    return first + "." + base64url_encode(key_.sign(as_bytes("alga-warmup:v1." + first)));
  }

  ManualClock clock_;
  crypto::SigningKey key_ = crypto::SigningKey::generate();
  GrantVerifier keys_{clock_};
  ContentHash bundle_ = *ContentHash::parse(std::string(64, 'a'));
};

TEST_F(WarmupTokenTest, OrdersOneBundleForAMinute) {
  const std::string token = sign_warmup(bundle_, clock_.wall(), key_);
  EXPECT_EQ(code_of(token), "");
  EXPECT_EQ(code_of(token, std::string(64, 'b')), "grant.hash_mismatch");
  clock_.advance(64s);
  EXPECT_EQ(code_of(token), "") << "clocks may differ by five seconds";
  clock_.advance(2s);
  EXPECT_EQ(code_of(token), "grant.expired");
  EXPECT_EQ(code_of(sign_warmup(bundle_, clock_.wall() + 10s, key_)), "grant.not_yet_valid");
}

TEST_F(WarmupTokenTest, RefusesWhatTheControlPlaneDidNotSign) {
  std::string token = sign_warmup(bundle_, clock_.wall(), key_);
  EXPECT_EQ(code_of(sign_warmup(bundle_, clock_.wall(), crypto::SigningKey::generate())),
            "grant.unknown_key");
  token.back() = token.back() == 'A' ? 'Q' : 'A';
  EXPECT_NE(code_of(token), "");
  for (const char* text : {"", ".", "x", "a.b", "e30.e30"}) {
    EXPECT_EQ(code_of(text), "grant.malformed") << text;
  }
  EXPECT_EQ(code_of(std::string(5000, 'a')), "grant.malformed");
  keys_.set_keys({});
  EXPECT_EQ(code_of(sign_warmup(bundle_, clock_.wall(), key_)), "grant.unknown_key");
}

TEST_F(WarmupTokenTest, IsNoGrantAndAGrantIsNoOrder) {
  const std::string order = sign_warmup(bundle_, clock_.wall(), key_);
  EXPECT_FALSE(keys_.verify(order)) << "a runner must not execute for it";
  const auto now = std::chrono::floor<std::chrono::seconds>(clock_.wall());
  const Grant grant{.issued = now,
                    .expires = now + 60s,
                    .tenant = *TenantId::parse("t1"),
                    .install = *InstallId::parse("i1"),
                    .extension = *ExtensionId::parse("e1"),
                    .version = *VersionId::parse("v1"),
                    .content_hash = bundle_};
  EXPECT_EQ(code_of(*sign_grant(grant, key_)), "grant.malformed");
}

TEST_F(WarmupTokenTest, LivesNoLongerThanItsSignerMaySay) {
  const std::int64_t second =
      std::chrono::floor<std::chrono::seconds>(clock_.wall()).time_since_epoch().count();
  const auto lasting = [&](std::int64_t life) {
    return signed_payload(R"({"v":1,"kid":")" + key_.public_key().id() + R"(","hash":")" +
                          bundle_.prefixed() + R"(","iat":)" + std::to_string(second) +
                          R"(,"exp":)" + std::to_string(second + life) + "}");
  };
  EXPECT_EQ(code_of(lasting(60)), "");
  EXPECT_EQ(code_of(lasting(61)), "grant.bad_life");
  EXPECT_EQ(code_of(lasting(0)), "grant.bad_life");
}

}  // namespace
}  // namespace alga::domain
