#include "control_plane/testing.h"
#include "sql/migrate.h"

namespace alga::control_plane {
namespace {

/// What a gateway of another process holds: the shared database, and nothing else.
class GatewayOnly : public ::testing::Test {
 protected:
  Dependencies dependencies(sql::Database& database) {
    Dependencies deps;
    deps.database = &database;
    deps.blocking = &pool_;
    deps.clock = &clock_;
    deps.random = &random_;
    deps.metrics = &metrics_;
    deps.options.gateway_only = true;
    return deps;
  }
  std::unique_ptr<sql::Database> open(const std::string& name) {
    return *sql::open_database("sqlite:" + folder_.path().string() + "/" + name);
  }

  archive::testing::TemporaryDirectory folder_;
  async::BlockingPool pool_{2, 100, "test"};
  ManualClock clock_;
  SystemRandom random_;
  NoMetrics metrics_;
};

TEST_F(GatewayOnly, WaitsForTheControlPlaneToMakeTheSchema) {
  const auto empty = open("empty.db");
  const auto plane = ControlPlane::create(dependencies(*empty));
  ASSERT_FALSE(plane);
  EXPECT_EQ(plane.error().code, "sql.schema_too_old");
  EXPECT_EQ(sql::schema_version(*empty).value_or(99), 0U) << "a gateway migrates nothing";
}

TEST_F(GatewayOnly, KnowsThePrincipalsOfTheControlPlaneWithoutAnyKey) {
  testing::Platform platform(open("shared.db"));
  const std::string admin = platform.admin_of("acme");
  const auto shared = open("shared.db");
  auto plane = ControlPlane::create(dependencies(*shared));
  ASSERT_TRUE(plane) << plane.error().message;
  EXPECT_FALSE((*plane)->take_bootstrap_token());
  const auto principal = async::block_on((*plane)->authenticator().authenticate(admin));
  ASSERT_TRUE(principal) << principal.error().message;
  EXPECT_EQ(principal->tenant->str(), "acme");
  EXPECT_EQ(async::block_on((*plane)->authenticator().authenticate("alga_x_y")).error().code,
            "auth.invalid_token");
  EXPECT_TRUE((*plane)->grant_keys().empty()) << "it cannot sign, and verifies nothing";
  EXPECT_TRUE((*plane)->probe());
  (*plane)->stop(sql::within(std::chrono::seconds{1}));
}

}  // namespace
}  // namespace alga::control_plane
