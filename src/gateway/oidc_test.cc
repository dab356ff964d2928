#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>

#include "async/spawn.h"
#include "base/bytes.h"
#include "crypto/sign.h"
#include "gateway/testing.h"
#include "gateway/token_authenticator.h"

namespace alga::gateway {
namespace {

using domain::Role;
using ::testing::HasSubstr;
using ::testing::Not;

/// An issuer with Ed25519 keys, as strict or as careless as a test wants it.
class Oidc : public ::testing::Test {
 protected:
  Oidc() {
    publish("k1", key_);
    make({});
  }
  void make(OidcAuthenticator::Options options) {
    options.issuer = "https://issuer.test/realm";
    options.audience = "alga";
    oidc_ = std::make_unique<OidcAuthenticator>(
        std::move(options),
        [this](std::string url, Callback<std::string> done) {
          fetched_.push_back(url);
          const auto found = documents_.find(url);
          if (found == documents_.end()) {
            return done(fail(Kind::bad_gateway, "egress.transport", "refused"));
          }
          done(found->second);
        },
        clock_, Logger{});
    documents_["https://issuer.test/realm/.well-known/openid-configuration"] =
        R"({"issuer":"https://issuer.test/realm","jwks_uri":"https://issuer.test/keys"})";
  }
  void publish(const std::string& id, const crypto::SigningKey& key) {
    documents_["https://issuer.test/keys"] = R"({"keys":[{"kty":"OKP","crv":"Ed25519","kid":")" +
                                             id + R"(","x":")" +
                                             base64url_encode(key.public_key().bytes()) + R"("}]})";
  }
  [[nodiscard]] std::string seconds(std::int64_t from_now) const {
    return std::to_string(clock_.wall().time_since_epoch() / std::chrono::seconds(1) + from_now);
  }
  [[nodiscard]] std::string claims(
      const std::string& more = R"(,"roles":["tenant_user"],"tenant":"t1")",
      std::int64_t expires = 300) const {
    return R"({"iss":"https://issuer.test/realm","aud":"alga","sub":"u1","exp":)" +
           seconds(expires) + more + "}";
  }
  [[nodiscard]] std::string token(
      const std::string& payload,
      const std::string& header = R"({"alg":"EdDSA","kid":"k1"})") const {
    const std::string text =
        base64url_encode(as_bytes(header)) + '.' + base64url_encode(as_bytes(payload));
    return text + '.' + base64url_encode(key_.sign(as_bytes(text)));
  }
  Result<domain::Principal> authenticate(const std::string& text) {
    return async::block_on(oidc_->authenticate(text));
  }
  std::string refused(const std::string& text) {
    const auto principal = authenticate(text);
    if (principal) return "accepted";
    EXPECT_EQ(principal.error().code, "oidc.invalid_token");
    return principal.error().message;
  }

  ManualClock clock_;
  crypto::SigningKey key_ = crypto::SigningKey::generate();
  std::map<std::string, std::string> documents_;
  std::vector<std::string> fetched_;
  std::unique_ptr<OidcAuthenticator> oidc_;
};

TEST_F(Oidc, BelievesATokenOfItsIssuer) {
  const auto principal = authenticate(token(claims(
      R"(,"roles":["x","tenant_admin","tenant_user"],"tenant":"t1","name":"Ada","email":"a@b.test")")));
  ASSERT_TRUE(principal) << principal.error().message;
  EXPECT_EQ(principal->id, "oidc:u1");
  EXPECT_EQ(principal->role, Role::tenant_admin) << "the most powerful one";
  EXPECT_EQ(principal->tenant->str(), "t1");
  EXPECT_EQ(principal->user->user_email, "a@b.test");
  EXPECT_EQ(principal->user->user_type, "internal");
  EXPECT_EQ(fetched_.size(), 2U);
  EXPECT_TRUE(authenticate(token(claims())));
  EXPECT_EQ(fetched_.size(), 2U) << "the keys are kept";
}

TEST_F(Oidc, ReadsClientUsersAndPublishers) {
  const auto client = authenticate(
      token(claims(R"(,"roles":"client_user","tenant":"t1","client_id":"c9","client_name":"Co")")));
  ASSERT_TRUE(client);
  EXPECT_EQ(client->user->client_id, "c9");
  EXPECT_EQ(client->user->user_type, "client");
  const auto publisher =
      authenticate(token(claims(R"(,"roles":["publisher"],"publisher":"acme")")));
  ASSERT_TRUE(publisher);
  EXPECT_EQ(publisher->publisher, "acme");
  EXPECT_FALSE(publisher->tenant);
}

TEST_F(Oidc, ReadsPermissionsWhereAClaimIsNamedForThem) {
  const auto rights = [&](const std::string& who, const std::string& permissions) {
    const auto principal = authenticate(token(claims(who + permissions)));
    if (!principal) return std::string(principal.error().code);
    return std::string(principal->extensions.read ? "read " : "") +
           (principal->extensions.write ? "write" : "");
  };
  const std::string user = R"(,"tenant":"t1","roles":["tenant_user"])";
  EXPECT_EQ(rights(user, R"(,"permissions":[])"), "read write") << "nothing names the claim";

  OidcAuthenticator::Options options;
  options.claims.permissions = "permissions";
  make(std::move(options));
  EXPECT_EQ(rights(user, R"(,"permissions":["extension:read","ticket:write"])"), "read ");
  EXPECT_EQ(rights(user, R"(,"permissions":"extension:write extension:read")"), "read write");
  for (const char* none : {"", R"(,"permissions":[])", R"(,"permissions":["Extension:Read",1])",
                           R"(,"permissions":{"extension:read":true})"}) {
    EXPECT_EQ(rights(user, none), "") << none;
  }
  EXPECT_EQ(rights(R"(,"roles":["operator"])", ""), "read write") << "of operators none are asked";
}

TEST_F(Oidc, RefusesClaimsThatAreNotEnough) {
  EXPECT_EQ(refused(token(claims(""))), "no known role");
  EXPECT_EQ(refused(token(claims(R"(,"roles":["root"])"))), "no known role");
  EXPECT_EQ(refused(token(claims(R"(,"roles":["tenant_user"])"))), "no tenant");
  EXPECT_EQ(refused(token(claims(R"(,"roles":["tenant_user"],"tenant":"../t")"))), "no tenant");
  EXPECT_EQ(refused(token(claims(R"(,"roles":["publisher"])"))), "no publisher");
}

TEST_F(Oidc, RefusesOtherIssuersAudiencesAndTimes) {
  const std::string roles = R"(,"roles":["operator"]})";
  const std::string tail = R"("sub":"u","exp":)" + seconds(300) + roles;
  EXPECT_EQ(refused(token(R"({"iss":"https://evil.test","aud":"alga",)" + tail)), "another issuer");
  EXPECT_EQ(refused(token(R"({"iss":"https://issuer.test/realm","aud":"other",)" + tail)),
            "another audience");
  EXPECT_EQ(refused(token(R"({"iss":"https://issuer.test/realm",)" + tail)), "another audience");
  EXPECT_EQ(refused(token(R"({"iss":"https://issuer.test/realm","aud":["x","alga"],)" + tail)),
            "accepted");
  EXPECT_EQ(refused(token(R"({"iss":"https://issuer.test/realm","aud":"alga","sub":"u")" + roles)),
            "the token never expires");
  EXPECT_EQ(refused(token(claims("", -60))), "the token has expired");
  EXPECT_EQ(refused(token(claims(R"(,"nbf":)" + seconds(61)))), "the token is not valid yet");
  EXPECT_EQ(refused(token(claims(R"(,"iat":)" + seconds(61)))),
            "the token was issued in the future");
  EXPECT_EQ(refused(token(claims(R"(,"nbf":"soon")"))), "a time is not a number");
  EXPECT_EQ(refused(token(claims(R"(,"nbf":1e300)"))), "a time is out of range");
  EXPECT_EQ(refused(token(claims(R"(,"roles":["operator"])", -59))), "accepted")
      << "within the skew";
}

TEST_F(Oidc, LetsNoTokenChooseItsAlgorithm) {
  const std::string payload = claims();
  EXPECT_EQ(refused(token(payload, R"({"alg":"none","kid":"k1"})")),
            "the algorithm does not fit the key");
  EXPECT_EQ(refused(token(payload, R"({"alg":"HS256","kid":"k1"})")),
            "the algorithm does not fit the key");
  EXPECT_EQ(refused(token(payload, R"({"alg":"RS256","kid":"k1"})")),
            "the algorithm does not fit the key");
  EXPECT_EQ(refused(token(payload, R"({"alg":"eddsa","kid":"k1"})")),
            "the algorithm does not fit the key");
  make({.algorithms = {crypto::JwsAlgorithm::es256}});
  EXPECT_EQ(refused(token(payload)), "the algorithm does not fit the key");
}

TEST_F(Oidc, RefusesAlteredAndMalformedTokens) {
  const std::string good = token(claims());
  std::string flipped = good;
  char& victim = flipped[flipped.size() - 10];
  victim = victim == 'A' ? 'B' : 'A';
  EXPECT_EQ(refused(flipped), "the signature is not the issuer's");
  const std::string head = good.substr(0, good.find('.') + 1);
  const std::string tail = good.substr(good.rfind('.'));
  EXPECT_EQ(refused(head + base64url_encode(as_bytes(claims(R"(,"roles":["operator"])"))) + tail),
            "the signature is not the issuer's");
  for (const std::string& text :
       {std::string(""), std::string("a.b"), std::string("a.b.c"), good + ".x", good + "=",
        good.substr(0, good.rfind('.') + 1), std::string(20'000, 'a'),
        token(claims(), R"({"alg":"EdDSA"})"), token(claims(), R"({"kid":"k1"})"),
        token(claims(), R"({"alg":"EdDSA","kid":"k1","crit":["x"]})"),
        token(claims(), R"({"alg":"EdDSA","kid":"k1","typ":"secevent+jwt"})"),
        token(claims(), R"({"alg":"EdDSA","alg":"none","kid":"k1"})"), token("[]"),
        token(claims() + "x")}) {
    EXPECT_NE(refused(text), "accepted") << text.substr(0, 80);
  }
}

TEST_F(Oidc, FollowsARotationButIsNotDrivenByStrangers) {
  ASSERT_TRUE(authenticate(token(claims())));
  const std::size_t before = fetched_.size();
  EXPECT_EQ(refused(token(claims(), R"({"alg":"EdDSA","kid":"k2"})")),
            "signed with a key that is not the issuer's");
  for (int i = 0; i < 100; ++i) {
    refused(token(claims(), R"({"alg":"EdDSA","kid":"random)" + std::to_string(i) + "\"}"));
  }
  EXPECT_EQ(fetched_.size(), before) << "asked a moment ago";
  publish("k2", key_);
  clock_.advance(std::chrono::seconds(10));
  EXPECT_TRUE(authenticate(token(claims(), R"({"alg":"EdDSA","kid":"k2"})")));
  EXPECT_EQ(refused(token(claims())), "signed with a key that is not the issuer's")
      << "the old key is gone";
}

TEST_F(Oidc, LivesThroughAnOutageOfTheIssuerForADay) {
  ASSERT_TRUE(authenticate(token(claims())));
  documents_.clear();
  clock_.advance(std::chrono::hours(1));
  EXPECT_TRUE(authenticate(token(claims())));
  clock_.advance(std::chrono::hours(24));
  // Also the next one, for whom the issuer is not asked again so soon.
  for (int i = 0; i < 2; ++i) {
    const auto principal = authenticate(token(claims()));
    ASSERT_FALSE(principal);
    EXPECT_EQ(principal.error().code, "oidc.unavailable");
  }
}

TEST_F(Oidc, SaysThatItHasNoKeys) {
  documents_.clear();
  const auto principal = authenticate(token(claims()));
  EXPECT_EQ(principal.error().code, "oidc.unavailable");
  EXPECT_EQ(principal.error().kind, Kind::unavailable) << "not the caller's fault";
}

TEST_F(Oidc, TrustsNoKeysFromElsewhere) {
  documents_["https://issuer.test/realm/.well-known/openid-configuration"] =
      R"({"issuer":"https://evil.test","jwks_uri":"https://issuer.test/keys"})";
  EXPECT_EQ(authenticate(token(claims())).error().code, "oidc.unavailable");
  clock_.advance(std::chrono::seconds(10));
  documents_["https://issuer.test/realm/.well-known/openid-configuration"] =
      R"({"issuer":"https://issuer.test/realm","jwks_uri":"http://issuer.test/keys"})";
  EXPECT_EQ(authenticate(token(claims())).error().code, "oidc.unavailable");
}

TEST(Jwks, LeavesOutWhatItCannotUse) {
  const std::string x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
  const std::string good = R"("kty":"OKP","crv":"Ed25519","x":")" + x + "\"";
  const auto set = parse_jwks(
      R"({"keys":[{"kid":"good",)" + good + R"(},{"kid":"enc","use":"enc",)" + good + R"(},{)" +
      good + R"(},{"kid":"alg","alg":"RS256",)" + good + R"(},{"kid":"twin",)" + good +
      R"(},{"kid":"twin",)" + good + R"(},{"kid":"short","kty":"OKP","crv":"Ed25519","x":"AA"},)" +
      R"({"kid":"oct","kty":"oct","k":"AAAA"},7]})");
  ASSERT_TRUE(set);
  EXPECT_EQ(set->size(), 1U);
  EXPECT_TRUE(set->contains("good"));
  for (const char* text : {"", "[]", "{}", R"({"keys":{}})"}) {
    EXPECT_EQ(parse_jwks(text).error().code, "oidc.bad_jwks") << text;
  }
}

class Tokens : public ::testing::Test {
 protected:
  std::string claims(std::int64_t expires, const std::string& more) const {
    const auto now = clock_.wall().time_since_epoch() / std::chrono::seconds(1);
    return R"({"sub":"u1","exp":)" + std::to_string(now + expires) + more + "}";
  }
  Result<domain::Principal> authenticate(const std::string& token) {
    return async::block_on(tokens_.authenticate(token));
  }
  std::string code(const std::string& token) {
    const auto principal = authenticate(token);
    return principal ? "accepted" : std::string(principal.error().code);
  }
  ManualClock clock_;
  Secret key_{std::string(32, 'k')};
  std::string user_ = R"(,"roles":["tenant_user"],"tenant":"t1")";
  testing::FakeAuthenticator keys_;
  SessionTokens sessions_{[this] { return Result<Secret>(key_.copy()); }, ClaimNames{}, clock_};
  TokenAuthenticator tokens_{{.keys = &keys_, .oidc = nullptr, .sessions = &sessions_}};
};

TEST_F(Tokens, BelieveASessionOfTheHostApplication) {
  const auto principal = authenticate(SessionTokens::sign(claims(600, user_), key_));
  ASSERT_TRUE(principal) << principal.error().message;
  EXPECT_EQ(principal->id, "session:u1");
  EXPECT_EQ(principal->source, domain::Principal::Source::session);
  EXPECT_EQ(principal->tenant->str(), "t1");
}

TEST_F(Tokens, RefuseOtherSessions) {
  const std::string good = SessionTokens::sign(claims(600, user_), key_);
  EXPECT_EQ(code(good + "x"), "session.invalid_token");
  EXPECT_EQ(code(good.substr(0, good.find('.'))), "session.invalid_token");
  EXPECT_EQ(code(SessionTokens::sign(claims(600, user_), Secret(std::string(32, 'x')))),
            "session.invalid_token");
  EXPECT_EQ(code(SessionTokens::sign(claims(0, user_), key_)), "session.invalid_token");
  EXPECT_EQ(code(SessionTokens::sign(claims(2 * 86'400, user_), key_)), "session.invalid_token");
  EXPECT_EQ(code(SessionTokens::sign(R"({"sub":"u1"})", key_)), "session.invalid_token");
  EXPECT_EQ(code(SessionTokens::sign("[]", key_)), "session.invalid_token");
  EXPECT_EQ(code(SessionTokens::sign(claims(600, R"(,"roles":["operator"])"), key_)),
            "session.invalid_token")
      << "a session makes no operator";
  key_ = Secret("short");
  EXPECT_EQ(code(SessionTokens::sign(claims(600, user_), key_)), "session.bad_key");
}

TEST_F(Tokens, GoToTheOneThatKnowsThem) {
  keys_.principals["alga_id_secret"] = {.id = "key", .role = Role::operator_};
  EXPECT_EQ(code("alga_id_secret"), "accepted");
  EXPECT_EQ(code("alga_other_secret"), "auth.invalid_token");
  EXPECT_EQ(keys_.calls, 2);
  EXPECT_EQ(code("a.b.c"), "auth.invalid_token") << "no OpenID issuer is configured";
  EXPECT_EQ(code("whatever"), "auth.invalid_token");
  EXPECT_EQ(keys_.calls, 2) << "not asked about foreign tokens";
}

}  // namespace
}  // namespace alga::gateway
