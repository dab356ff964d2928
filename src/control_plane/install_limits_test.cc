// What an administrator may give one install of time, memory and CPU time, on both databases.

#include "control_plane/schema/migrations.h"
#include "control_plane/testing.h"
#include "domain/grant.h"

namespace alga::control_plane {
namespace {

using boost::json::object;
using testing::OnPlatform;
using testing::Reply;

class InstallLimits : public OnPlatform {
 protected:
  void SetUp() override {
    OnPlatform::SetUp();
    if (!platform_) return;
    publish_hello();
    admin_ = p().admin_of("t1");
  }
  Reply grant(const object& body) {
    return p().call("PUT", "/api/v1/installs/acme.hello/grants", admin_, body);
  }
  object limits_after(const object& limits) {
    const Reply changed = grant({{"limits", limits}});
    EXPECT_EQ(changed.status, 200) << changed.text;
    EXPECT_EQ(changed.at("/install/limits"), shown());
    return shown().as_object();
  }
  boost::json::value shown() {
    return p().call("GET", "/api/v1/installs/acme.hello", admin_).at("/install/limits");
  }
  /// Of the grant by which runners go.
  domain::RequestedLimits granted() {
    const Reply config = p().call("POST", "/internal/runner/install-config", "",
                                  object{{"tenantId", "t1"}, {"extensionId", "acme.hello"}},
                                  {{"x-runner-auth", "token-of-config"}});
    EXPECT_EQ(config.status, 200) << config.text;
    domain::GrantVerifier verifier(p().clock());
    std::vector<crypto::PublicKey> keys;
    for (const auto& key : p().plane().grant_keys()) keys.push_back(key.key);
    verifier.set_keys(keys);
    const auto grant = verifier.verify(config.string("/grant"));
    EXPECT_TRUE(grant) << grant.error().message;
    return grant ? (*grant)->grant.limits : domain::RequestedLimits{};
  }
  std::string admin_;
};

TEST_P(InstallLimits, StandInTheInstallAndInTheGrantThatRunnersGoBy) {
  const object all{{"timeout_ms", 9'000}, {"memory_mb", 64}, {"cpu_ms", 200}};
  install_hello(admin_, {{"limits", all}});
  EXPECT_EQ(shown(), all);
  EXPECT_EQ(granted().timeout_ms, 9'000U);
  EXPECT_EQ(granted().memory_mb, 64U);
  EXPECT_EQ(granted().fuel, 200 * domain::fuel_per_cpu_ms);

  const object most{{"timeout_ms", 120'000}, {"memory_mb", 1'024}, {"cpu_ms", 60'000}};
  EXPECT_EQ(limits_after(most), most);
  EXPECT_EQ(granted().fuel, 60'000 * domain::fuel_per_cpu_ms);
}

TEST_P(InstallLimits, StayWhereNothingIsSaidOfThemAndGoWithNull) {
  install_hello(admin_, {{"limits", {{"timeout_ms", 9'000}, {"cpu_ms", nullptr}}}});
  EXPECT_EQ(shown(), (object{{"timeout_ms", 9'000}}));
  EXPECT_EQ(limits_after({{"cpu_ms", 200}}), (object{{"timeout_ms", 9'000}, {"cpu_ms", 200}}));
  EXPECT_EQ(grant({{"egress", boost::json::array{}}}).status, 200);
  EXPECT_EQ(limits_after({}), (object{{"timeout_ms", 9'000}, {"cpu_ms", 200}}));

  EXPECT_EQ(limits_after({{"timeout_ms", nullptr}, {"memory_mb", 32}}),
            (object{{"memory_mb", 32}, {"cpu_ms", 200}}));
  EXPECT_EQ(granted().timeout_ms, std::nullopt);
  EXPECT_EQ(limits_after({{"cpu_ms", nullptr}, {"memory_mb", nullptr}}), object{});
  EXPECT_EQ(granted().memory_mb, std::nullopt);
  EXPECT_EQ(granted().fuel, std::nullopt);
}

TEST_P(InstallLimits, AreOnTheAuditTrail) {
  install_hello(admin_, {{"limits", {{"memory_mb", 64}}}});
  limits_after({{"cpu_ms", 200}});
  limits_after({{"memory_mb", nullptr}});
  std::string trail;
  const Reply events = p().call("GET", "/api/v1/audit?limit=100", admin_);
  for (const auto& event : events.at("/events").as_array()) {
    const auto* limits = event.at("details").as_object().if_contains("limits");
    if (limits == nullptr) continue;
    trail += std::string(event.at("action").as_string()) + serialize(*limits) + "\n";
  }
  EXPECT_EQ(trail,
            "install.granted{\"cpu_ms\":200}\n"
            "install.granted{\"memory_mb\":64,\"cpu_ms\":200}\n"
            "install.created{\"memory_mb\":64}\n");
}

TEST_P(InstallLimits, BeyondTheServersAreRefused) {
  install_hello(admin_, {{"limits", {{"cpu_ms", 200}}}});
  for (const object& limits :
       {object{{"cpu_ms", 0}}, object{{"cpu_ms", 60'001}}, object{{"cpu_ms", "1"}},
        object{{"cpu_ms", 1.5}}, object{{"timeout_ms", 120'001}}, object{{"memory_mb", 1'025}},
        object{{"cpu_ms", nullptr}, {"fuel", 1}}}) {
    const Reply refused = p().call_malformed("PUT", "/api/v1/installs/acme.hello/grants", admin_,
                                             object{{"limits", limits}});
    EXPECT_EQ(refused.status, 400) << limits;
  }
  EXPECT_EQ(shown(), (object{{"cpu_ms", 200}}));
}

ALGA_ON_EVERY_DATABASE(InstallLimits);

class InstallsOfAnEarlierVersion : public sql::testing::OnEveryDatabase {};

TEST_P(InstallsOfAnEarlierVersion, HaveTheServersCpuTimeAfterTheMigration) {
  const ManualClock clock;
  const auto steps = schema::migrations();
  ASSERT_TRUE(sql::migrate(*database_, steps.first(12), clock));
  const auto filled = database_->write([](sql::Executor& sql) {
    return sql.script(
        "INSERT INTO tenants (id, name, created_at) VALUES ('t1', 'T', 1);"
        "INSERT INTO publishers (id, name, created_at) VALUES ('p1', 'acme', 1);"
        "INSERT INTO extension_registry (id, publisher_id, name, slug, created_at, updated_at) "
        "VALUES ('e1', 'p1', 'hello', 'acme.hello', 1, 1);"
        "INSERT INTO extension_version (id, extension_id, version, major, minor, patch, "
        "prerelease, runtime, manifest, capabilities, egress, endpoints_declared, client_portal, "
        "has_ui, created_at, created_by) VALUES ('v1', 'e1', '1.0.0', 1, 0, 0, '', 'wasm-js@1', "
        "'{}', '[]', '[]', 0, 0, 0, 1, 'p');"
        "INSERT INTO tenant_extension_install (tenant, id, extension_id, version_id, "
        "content_hash, is_enabled, status, timeout_ms, generation, created_at, updated_at) "
        "VALUES ('t1', 'i1', 'e1', 'v1', 'h', 1, 'enabled', 9000, 1, 1, 1);");
  });
  ASSERT_TRUE(filled) << filled.error().message;
  ASSERT_TRUE(sql::migrate(*database_, steps, clock));
  const auto row = database_->read([](sql::Executor& sql) {
    return sql.find("SELECT timeout_ms, cpu_ms FROM tenant_extension_install WHERE id = 'i1'");
  });
  ASSERT_TRUE(row) << row.error().message;
  EXPECT_EQ((*row)->at<std::uint64_t>(0), 9'000U);
  EXPECT_EQ((*row)->at<std::optional<std::uint64_t>>(1), std::nullopt);
}

ALGA_ON_EVERY_DATABASE(InstallsOfAnEarlierVersion);

}  // namespace
}  // namespace alga::control_plane
