#include "control_plane/testing.h"

namespace alga::control_plane {
namespace {

using boost::json::object;
using testing::HeaderMap;
using testing::OnPlatform;
using testing::Reply;

/// What runners ask to find the pages of an install: by host name, and whether a hash is current.
class Lookup : public OnPlatform {
 protected:
  void SetUp() override {
    OnPlatform::SetUp();
    if (!platform_) return;
    publish_hello();
    admin_ = p().admin_of("t1");
    install_ = install_hello(admin_);
    Reply shown = p().call("GET", "/api/v1/installs/" + install_, admin_);
    extension_ = shown.string("/install/extension_id");
    hash_ = shown.string("/install/content_hash");
    std::ranges::copy_if(install_, std::back_inserter(host_), [](char c) { return c != '-'; });
    host_ += ".ext.example";
  }
  Reply ask(const std::string& path,
            const HeaderMap& headers = {{"x-api-key", "token-of-registry"}}) {
    return p().call("GET", path, "", {}, headers);
  }
  Reply by_host(const std::string& host) {
    return ask("/api/installs/lookup-by-host?host=" + host);
  }
  std::string validate(const std::string& tenant, const std::string& hash) {
    return ask("/api/installs/validate?tenant=" + tenant + "&extension=" + extension_ +
               "&hash=" + hash + "&ts=1")
        .text;
  }
  std::string admin_, install_, extension_, hash_, host_;
};

TEST_P(Lookup, FindsAnInstallByItsHostWhateverCaseAndPort) {
  for (const std::string& host : {host_, host_ + ":8443"}) {
    Reply found = by_host(host);
    EXPECT_EQ(found.status, 200) << host;
    EXPECT_EQ(found.string("/tenant_id"), "t1");
    EXPECT_EQ(found.string("/extension_id"), extension_);
    EXPECT_EQ(found.string("/content_hash"), "sha256:" + ContentHash::parse(hash_)->hex());
  }
  std::string upper = host_;
  std::ranges::transform(upper, upper.begin(), [](unsigned char c) { return std::toupper(c); });
  EXPECT_EQ(by_host(upper).status, 200);
  EXPECT_EQ(by_host("unknown.ext.example").status, 404);
  EXPECT_EQ(by_host("").status, 400);
}

TEST_P(Lookup, KnowsNothingOfADisabledInstall) {
  ASSERT_EQ(p().call("POST", "/api/v1/installs/" + install_ + "/disable", admin_).status, 200);
  EXPECT_EQ(by_host(host_).status, 404);
  EXPECT_EQ(validate("t1", hash_), R"({"valid":false})");
  ASSERT_EQ(p().call("POST", "/api/v1/installs/" + install_ + "/enable", admin_).status, 200);
  EXPECT_EQ(by_host(host_).status, 200);
}

TEST_P(Lookup, ValidatesTheHashThatIsInstalledInBothForms) {
  std::string hex = ContentHash::parse(hash_)->hex();
  EXPECT_EQ(validate("t1", hex), R"({"valid":true})");
  EXPECT_EQ(validate("t1", "sha256:" + hex), R"({"valid":true})");
  EXPECT_EQ(validate("t2", hex), R"({"valid":false})");
  EXPECT_EQ(validate("t1", std::string(64, '0')), R"({"valid":false})");
  Reply incomplete = p().call_malformed("GET", "/api/installs/validate?tenant=t1", "", {},
                                        {{"x-api-key", "token-of-registry"}});
  EXPECT_EQ(incomplete.status, 400);
  EXPECT_EQ(incomplete.at("/valid"), false);
}

TEST_P(Lookup, AnswersTheRegistrysKeyOnly) {
  const std::string path = "/api/installs/lookup-by-host?host=" + host_;
  for (const HeaderMap& headers :
       {HeaderMap{}, HeaderMap{{"x-api-key", "token-of-registrx"}}, HeaderMap{{"x-api-key", ""}},
        HeaderMap{{"x-api-key", admin_}}, HeaderMap{{"x-runner-auth", "token-of-registry"}}}) {
    EXPECT_EQ(ask(path, headers).status, 401);
  }
}

ALGA_ON_EVERY_DATABASE(Lookup);

}  // namespace
}  // namespace alga::control_plane
