// Refusals that need something broken below the control plane, and the code that callers see.

#include <fstream>
#include <future>

#include "control_plane/testing.h"

namespace alga::control_plane {
namespace {

using boost::json::object;
using testing::OnPlatform;
using testing::Platform;
using testing::Reply;

class Refusals : public OnPlatform {
 protected:
  void SetUp() override {
    OnPlatform::SetUp();
    if (!platform_) return;
    publish_hello();
    admin_ = p().admin_of("t1");
    install_ = install_hello(admin_, {{"capabilities", {"cap:storage.kv", "cap:secrets.get"}}});
  }
  Reply set_secret(Platform& host, const char* name) {
    return host.call("PUT", "/api/v1/installs/" + install_ + "/secrets/" + name, admin_,
                     object{{"value", "v"}});
  }
  void change(std::string_view sql, std::initializer_list<sql::Value> params = {}) {
    auto done = p().database().write([&](sql::Executor& executor) {
      return executor.execute(sql, std::vector<sql::Value>(params));
    });
    ASSERT_TRUE(done) << done.error().message;
    ASSERT_GT(*done, 0U);
  }
  std::string admin_, install_;
};

TEST_P(Refusals, SayWhenStoredSecretsAreNotWhatWasStored) {
  ASSERT_EQ(set_secret(p(), "one").status, 200);
  change("UPDATE tenant_extension_install_secrets SET ciphertext = $1",
         {sql::Blob{std::string(80, 'x')}});
  Reply refused = set_secret(p(), "two");
  EXPECT_EQ(refused.status, 500);
  EXPECT_EQ(refused.string("/error/code"), "secrets.corrupt");
}

TEST_P(Refusals, SayWhenATenantsKeyIsGone) {
  ASSERT_EQ(set_secret(p(), "one").status, 200);
  change("UPDATE tenant_extension_install_secrets SET key_version = 7");
  Reply refused = set_secret(p(), "two");
  EXPECT_EQ(refused.status, 500);
  EXPECT_EQ(refused.string("/error/code"), "secrets.key_missing");
}

TEST_P(Refusals, SayWhenAGuestStoresMoreThanAValueMayHold) {
  std::promise<Result<std::uint64_t>> answer;
  domain::StorageScope scope{TenantId::parse("t1").value(), InstallId::parse(install_).value(), ""};
  p().plane().storage().put(scope, {"n", "k", std::string(70'000, 'x'), {}, {}},
                            [&](Result<std::uint64_t> outcome) { answer.set_value(outcome); });
  auto refused = answer.get_future().get();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, "storage.too_large");
}

ALGA_ON_EVERY_DATABASE(Refusals);

TEST(ScratchRefusals, SayWhenThereIsNoPlaceToUnpackABundle) {
  sql::testing::TemporaryFolder folder;
  std::string scratch = folder.path() + "/scratch";
  Platform p(*sql::open_database("sqlite:" + folder.path() + "/test.db"),
             [&](Options& options) { options.scratch = scratch; });
  std::filesystem::remove_all(scratch);
  std::ofstream(scratch) << "a file where a folder should be";
  Reply refused =
      p.publish(p.publisher("acme"), Platform::bundle(Platform::manifest("hello", "1.0.0")));
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.string("/error/detail_code"), "publish.scratch_unavailable");
}

}  // namespace
}  // namespace alga::control_plane
