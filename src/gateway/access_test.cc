#include "gateway/access.h"

#include <gtest/gtest.h>

#include <array>

#include "async/spawn.h"
#include "gateway/testing.h"

namespace alga::gateway {
namespace {

using domain::Role;

/// One install with an endpoint for every method, and a caller for whom the host application says
/// what the user may do.
class AccessPolicy : public ::testing::Test {
 protected:
  AccessPolicy() {
    auto install = std::make_shared<domain::InstallConfig>(
        domain::InstallConfig{.tenant = *TenantId::parse("t1"),
                              .slug = "acme.tickets",
                              .install = *InstallId::parse("inst-1"),
                              .version = *VersionId::parse("ver-1"),
                              .registry = *ExtensionId::parse("ext-1"),
                              .content_hash = *ContentHash::parse(std::string(64, 'a')),
                              .endpoints_declared = true,
                              .client_portal = true});
    for (const char* method : kMethods) install->endpoints.push_back({method, "/items"});
    installs_.installs = {std::move(install)};
  }
  /// The methods with which the caller gets through; the others are forbidden.
  std::string allowed(Role role, domain::ExtensionRights rights) {
    domain::Principal& who = principals_.principals["token"];
    who = {.id = "u1", .role = role, .extensions = rights};
    if (domain::is_tenant_bound(role)) who.tenant = TenantId::parse("t1");
    if (role == Role::client_user) who.user = domain::UserIdentity{.client_id = "c1"};
    std::string names;
    for (const char* method : kMethods) {
      const auto access = async::block_on(
          admit({.headers = {{"authorization", "Bearer token"}, {"x-tenant-id", "t1"}},
                 .extension = "ext-1",
                 .method = method,
                 .path = "/items"},
                &principals_, &installs_));
      if (access) names += std::string(names.empty() ? "" : " ") + method;
      if (!access) EXPECT_EQ(access.error().code, "gateway.forbidden") << method;
    }
    return names;
  }

  static constexpr std::array kMethods{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"};
  testing::FakeAuthenticator principals_;
  testing::FakeInstalls installs_;
};

TEST_F(AccessPolicy, AsksUsersForThePermissionToReadOrToWrite) {
  for (const Role role : {Role::tenant_user, Role::tenant_admin}) {
    EXPECT_EQ(allowed(role, {}), "GET HEAD POST PUT PATCH DELETE");
    EXPECT_EQ(allowed(role, {.read = true, .write = false}), "GET HEAD");
    EXPECT_EQ(allowed(role, {.read = false, .write = true}), "POST PUT PATCH DELETE");
    EXPECT_EQ(allowed(role, {.read = false, .write = false}), "");
  }
}

TEST_F(AccessPolicy, LetsThePortalDecideAboutItsOwnUsers) {
  EXPECT_EQ(allowed(Role::client_user, {.read = false, .write = false}),
            "GET HEAD POST PUT PATCH DELETE");
}

TEST_F(AccessPolicy, SaysWhatIsNotThereBeforeWhatIsNotPermitted) {
  principals_.principals["token"] = {.id = "u1",
                                     .role = Role::tenant_user,
                                     .tenant = TenantId::parse("t1"),
                                     .extensions = {.read = false, .write = false}};
  const auto code = [&](const char* extension, const char* path) {
    const auto access = async::block_on(admit({.headers = {{"authorization", "Bearer token"}},
                                               .extension = extension,
                                               .method = "GET",
                                               .path = path},
                                              &principals_, &installs_));
    return access ? "admitted" : std::string(access.error().code);
  };
  EXPECT_EQ(code("ext-2", "/items"), "gateway.extension_not_available");
  EXPECT_EQ(code("ext-1", "/others"), "gateway.endpoint_not_found");
  EXPECT_EQ(code("ext-1", "/items"), "gateway.forbidden");
}

}  // namespace
}  // namespace alga::gateway
