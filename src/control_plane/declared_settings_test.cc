// Who sets configuration and secrets reads what the installed version declares.

#include "control_plane/testing.h"

namespace alga::control_plane {
namespace {

using boost::json::object;
using testing::OnPlatform;
using testing::Reply;

class DeclaredSettingsOfAnInstall : public OnPlatform {
 protected:
  void SetUp() override {
    OnPlatform::SetUp();
    if (!platform_) return;
    admin_ = p().admin_of("t1");
    publish_hello("1.0.0", {{"config", {{"region", {{"description", "Data centre"}}}}},
                            {"secrets", {{"api_key", {{"required", true}}}}}});
    install_ = "/api/v1/installs/" + install_hello(admin_);
  }
  Reply get(const char* what) { return p().call("GET", install_ + what, admin_); }

  std::string admin_, install_;
};

TEST_P(DeclaredSettingsOfAnInstall, StandInEveryAnswerAboutConfigurationAndSecrets) {
  const object config{{"region", {{"description", "Data centre"}, {"required", false}}}};
  const object secrets{{"api_key", {{"description", ""}, {"required", true}}}};
  EXPECT_EQ(get("/config").at("/declared"), config);
  EXPECT_EQ(get("/secrets").at("/declared"), secrets);
  const Reply set = p().call("PATCH", install_ + "/config", admin_,
                             object{{"set", {{"regoin", "eu"}}}, {"unset", {"region"}}});
  EXPECT_EQ(set.at("/declared"), config) << "a name that nobody declares is set, and seen";
  EXPECT_EQ(set.string("/config/regoin"), "eu");
  const Reply kept =
      p().call("PUT", install_ + "/secrets/api_kye", admin_, object{{"value", "canary"}});
  EXPECT_EQ(kept.at("/declared"), secrets);
  EXPECT_FALSE(kept.text.contains("canary"));
  EXPECT_EQ(p().call("DELETE", install_ + "/secrets/api_kye", admin_).at("/declared"), secrets);
}

TEST_P(DeclaredSettingsOfAnInstall, AreThoseOfTheVersionThatIsInstalled) {
  publish_hello("2.0.0", {{"config", {{"zone", {{"required", true}}}}}});
  EXPECT_TRUE(get("/config").at("/declared").as_object().contains("region"));
  EXPECT_EQ(p().call("POST", install_ + "/update", admin_, object{{"version", "2.0.0"}}).status,
            200);
  const object declared{{"zone", {{"description", ""}, {"required", true}}}};
  EXPECT_EQ(get("/config").at("/declared"), declared);
  EXPECT_EQ(get("/secrets").at("/declared"), object{});
}

ALGA_ON_EVERY_DATABASE(DeclaredSettingsOfAnInstall);

}  // namespace
}  // namespace alga::control_plane
