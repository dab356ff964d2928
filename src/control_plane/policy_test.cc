// What an operator's settings say about publishing and installing.

#include "control_plane/testing.h"

namespace alga::control_plane {
namespace {

using boost::json::object;
using testing::Platform;
using testing::Reply;

class Policy : public ::testing::Test {
 protected:
  std::unique_ptr<Platform> platform(std::function<void(Options&)> adjust) {
    auto database = sql::open_database("sqlite:" + folder_.path() + "/test.db");
    return std::make_unique<Platform>(std::move(*database), std::move(adjust));
  }
  sql::testing::TemporaryFolder folder_;
};

TEST_F(Policy, LetsTheTenantsOfThePilotInstallAndNobodyElse) {
  auto p = platform([](Options& options) { options.publishing.pilot_tenants = {"first"}; });
  ASSERT_EQ(p->publish(p->publisher("acme"), Platform::bundle(Platform::manifest("hello", "1.0.0")))
                .status,
            200);
  std::string first = p->admin_of("first");
  std::string second = p->admin_of("second");
  object wanted{{"extension", "acme.hello"}};
  EXPECT_EQ(p->call("POST", "/api/v1/installs", first, wanted).status, 201);
  Reply refused = p->call("POST", "/api/v1/installs", second, wanted);
  EXPECT_EQ(refused.status, 403);
  EXPECT_EQ(refused.string("/error/code"), "install.not_in_pilot");
}

TEST_F(Policy, BoundsTheUploadsOfOnePrincipal) {
  auto p = platform([](Options& options) { options.publishing.uploads = 3; });
  std::string one = p->publisher("one");
  std::string other = p->publisher("other");
  auto upload = [&](const std::string& token) {
    return p->send("POST", "/api/ext-bundles/upload-proxy", token, "bytes");
  };
  for (int i = 0; i < 3; ++i) EXPECT_EQ(upload(one).status, 200);
  Reply refused = upload(one);
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.string("/error/code"), "RATE_LIMIT");
  EXPECT_EQ(upload(other).status, 200) << "everybody has a rate of their own";
  p->clock().advance(std::chrono::minutes{1});
  EXPECT_EQ(upload(one).status, 200);
}

TEST_F(Policy, RefusesComponentsBeyondTheirSize) {
  auto p = platform([](Options& options) { options.publishing.max_component_bytes = 999; });
  Reply refused =
      p->publish(p->publisher("acme"), Platform::bundle(Platform::manifest("hello", "1.0.0")));
  EXPECT_EQ(refused.status, 422);
  EXPECT_EQ(refused.string("/error/issues/0/code"), "component.too_large") << refused.text;
}

TEST_F(Policy, HoldsImportsToTheManifestWhereTheyMustBeExact) {
  auto p = platform([](Options& options) { options.publishing.exact_imports = true; });
  const std::string publisher = p->publisher("acme");
  const auto publish = [&](const char* version, const char* import) {
    auto report = testing::FakeInspector::good();
    report.imports.emplace_back(import);
    p->inspector().answer(report);
    return p->publish(publisher, Platform::bundle(Platform::manifest("hello", version)));
  };
  // What every extension may do without asking; what this manifest asks for; what it does not.
  EXPECT_EQ(publish("1.0.0", "alga:extension/logging@1.0.0").status, 200);
  EXPECT_EQ(publish("1.0.1", "alga:extension/storage@1.0.0").status, 200);
  const Reply refused = publish("1.0.2", "alga:extension/http@1.0.0");
  EXPECT_EQ(refused.status, 422);
  EXPECT_EQ(refused.string("/error/code"), "INVALID_COMPONENT");
  EXPECT_EQ(refused.string("/error/issues/0/code"), "component.undeclared_import");
  EXPECT_TRUE(refused.string("/error/issues/0/message").contains("cap:http.fetch")) << refused.text;
}

TEST_F(Policy, AcceptsCoreModulesUntilTheirDate) {
  auto p = platform([](Options& options) {
    options.publishing.legacy_modules_until = parse_rfc3339("2030-01-01T00:00:00Z");
  });
  auto module = testing::FakeInspector::good();
  module.kind = domain::ComponentReport::Kind::core_module;
  p->inspector().answer(module);
  std::string publisher = p->publisher("acme");
  auto publish = [&](const char* version) {
    return p->publish(publisher, Platform::bundle(Platform::manifest("hello", version)));
  };
  WallTime date = *parse_rfc3339("2030-01-01T00:00:00Z");
  p->clock().advance(date - p->clock().wall() - std::chrono::hours{1});
  Reply early = publish("1.0.0");
  EXPECT_EQ(early.status, 200) << early.text;
  EXPECT_TRUE(early.text.contains("component.core_module")) << early.text;
  p->clock().advance(std::chrono::hours{2});
  Reply late = publish("1.0.1");
  EXPECT_EQ(late.status, 422);
  EXPECT_EQ(late.string("/error/code"), "COMPONENT_REQUIRED");
}

TEST_F(Policy, RunsNothingUnsignedOnceSignaturesAreRequired) {
  auto before = platform({});
  const Reply published = before->publish(before->publisher("acme"),
                                          Platform::bundle(Platform::manifest("hello", "1.0.0")));
  ASSERT_EQ(published.status, 200) << published.text;
  const std::string admin = before->admin_of("t1");
  const object wanted{{"extension", "acme.hello"}};
  const Reply made = before->call("POST", "/api/v1/installs", admin, wanted);
  ASSERT_EQ(made.status, 201) << made.text;
  const auto load = [&](Platform& p) {
    return p.call("POST", "/internal/runner/install-config", "",
                  object{{"tenantId", "t1"}, {"extensionId", made.string("/install/id")}},
                  {{"x-runner-auth", "token-of-config"}});
  };
  EXPECT_EQ(load(*before).status, 200);

  auto database = sql::open_database("sqlite:" + folder_.path() + "/test.db");
  Platform strict(
      std::move(*database), [](Options& options) { options.publishing.require_signatures = true; },
      before->secrets());
  EXPECT_EQ(load(strict).status, 403) << "installed before";
  EXPECT_EQ(load(strict).string("/code"), "extension.untrusted");
  const Reply refused = strict.call("POST", "/api/v1/installs", before->admin_of("t2"), wanted);
  EXPECT_EQ(refused.string("/error/code"), "extension.untrusted") << "published before";
}

}  // namespace
}  // namespace alga::control_plane
