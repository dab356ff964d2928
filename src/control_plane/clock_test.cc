// A clock that is an hour off: nothing is accepted that should have ended, nothing is lost, and it
// is over when the clock is right. One platform is on time, the other one is not; they share the
// database and the keys.

#include "control_plane/testing.h"
#include "domain/grant.h"

namespace alga::control_plane {
namespace {

using boost::json::object;
using testing::OnPlatform;
using testing::Platform;
using testing::Reply;

class Clocks : public OnPlatform {
 protected:
  void SetUp() override {
    OnPlatform::SetUp();
    if (!platform_) return;
    publish_hello();
    admin_ = p().admin_of("t1");
    install_ = install_hello(admin_, {{"capabilities", {"cap:storage.kv", "cap:secrets.get"}}});
    other_ = std::make_unique<Platform>(open(), [](Options&) {}, p().secrets());
    other_->clock().advance(p().clock().wall() - other_->clock().wall());
  }
  void set_off(std::chrono::seconds by) { other_->clock().advance(by); }
  /// The grant that `host` signs for the install.
  std::string grant_of(Platform& host) {
    Reply config = host.call("POST", "/internal/runner/install-config", "",
                             object{{"tenantId", "t1"}, {"extensionId", install_}},
                             {{"x-runner-auth", "token-of-config"}});
    EXPECT_EQ(config.status, 200) << config.text;
    return config.string("/grant");
  }
  /// What a runner on `clock` makes of a grant.
  std::string verdict(Platform& on_clock, const std::string& grant) {
    domain::GrantVerifier verifier(on_clock.clock());
    std::vector<crypto::PublicKey> keys;
    for (const GrantKey& key : p().plane().grant_keys()) keys.push_back(key.key);
    verifier.set_keys(keys);
    auto verified = verifier.verify(grant);
    return verified ? "good" : std::string(verified.error().code);
  }
  std::string admin_, install_;
  std::unique_ptr<Platform> other_;
};

TEST_P(Clocks, RefuseTheGrantsOfAHostAnHourOffAndTakeThemWithinFiveSeconds) {
  EXPECT_EQ(verdict(p(), grant_of(*other_)), "good");
  set_off(std::chrono::seconds{4});
  EXPECT_EQ(verdict(p(), grant_of(*other_)), "good");
  set_off(std::chrono::hours{1});
  EXPECT_EQ(verdict(p(), grant_of(*other_)), "grant.not_yet_valid");
  EXPECT_EQ(verdict(*other_, grant_of(p())), "grant.expired") << "of the past";
  set_off(-std::chrono::hours{1});
  EXPECT_EQ(verdict(p(), grant_of(*other_)), "good") << "when the clock is right again";
}

TEST_P(Clocks, KeepTheAuditTrailIntactWhoeverWritesIt) {
  auto change = [&](Platform& host, const char* value) {
    return host
        .call("PATCH", "/api/v1/installs/" + install_ + "/config", admin_,
              object{{"set", {{"key", value}}}})
        .status;
  };
  EXPECT_EQ(change(p(), "1"), 200);
  set_off(std::chrono::hours{1});
  EXPECT_EQ(change(*other_, "2"), 200);
  set_off(-std::chrono::hours{2});
  EXPECT_EQ(change(*other_, "3"), 200);
  EXPECT_EQ(change(p(), "4"), 200);
  Reply shown = p().call("GET", "/api/v1/installs/" + install_ + "/config", admin_);
  EXPECT_EQ(shown.string("/config/key"), "4") << "the last write is the last, whatever its clock";
  Reply report = p().call("GET", "/api/v1/audit/verify", admin_);
  EXPECT_EQ(report.at("/intact"), true) << report.text;
}

TEST_P(Clocks, EndAKeyEarlyOrLateByAsMuchAsTheClockIsOff) {
  Reply made = p().call(
      "POST", "/api/v1/api-keys", p().operator_token(),
      object{{"label", "short"},
             {"role", "tenant_admin"},
             {"tenant", "t1"},
             {"expires_at", format_rfc3339(p().clock().wall() + std::chrono::minutes{30})}});
  std::string key = made.string("/key");
  set_off(std::chrono::hours{1});
  EXPECT_EQ(p().call("GET", "/api/v1/whoami", key).status, 200);
  EXPECT_EQ(other_->call("GET", "/api/v1/whoami", key).status, 401) << "fails closed";
}

TEST_P(Clocks, SweepNothingThatIsYoungerThanItsLifeByMoreThanTheError) {
  Reply upload = p().send("POST", "/api/ext-bundles/upload-proxy", publisher_token_,
                          Platform::bundle(Platform::manifest("hello", "3.0.0")));
  ASSERT_EQ(upload.status, 200);
  p().call("POST", "/api/ext-storage/install/" + install_ + "/n/records", admin_,
           object{{"key", "k"}, {"value", 1}, {"ttlSeconds", 7'200}});
  set_off(std::chrono::hours{1});
  other_->plane().stop(sql::within(std::chrono::seconds{5}));
  EXPECT_EQ(p().call("GET", "/api/ext-storage/install/" + install_ + "/n/records/k", admin_).status,
            200);
  EXPECT_EQ(p().call("POST", "/api/ext-bundles/finalize", publisher_token_,
                     object{{"key", upload.string("/upload/key")}})
                .status,
            200);
}

ALGA_ON_EVERY_DATABASE(Clocks);

}  // namespace
}  // namespace alga::control_plane
