#include "vault/providers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "archive/testing.h"
#include "vault/testing.h"

namespace alga::vault {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;

const TenantId kTenant = *TenantId::parse("t1");

std::string text(const Result<std::optional<Secret>>& value) {
  if (!value) return "error " + std::string(value.error().code);
  return *value ? std::string((*value)->reveal()) : "none";
}

EnvironmentSecrets environment(std::map<std::string, std::string> variables,
                               std::string prefix = "") {
  return EnvironmentSecrets(std::move(prefix),
                            [variables = std::move(variables)](const char* name) -> const char* {
                              const auto found = variables.find(name);
                              return found == variables.end() ? nullptr : found->second.c_str();
                            });
}

TEST(EnvironmentSecrets, ReadsPlainPrefixedAndTenantNames) {
  auto secrets =
      environment({{"KEY", "plain"}, {"APP_KEY", "prefixed"}, {"TENANT_t1_KEY", "tenant"}}, "APP");
  EXPECT_EQ(text(secrets.app_secret("KEY")), "prefixed");
  EXPECT_EQ(text(secrets.tenant_secret(kTenant, "KEY")), "tenant");
  EXPECT_EQ(text(secrets.app_secret("OTHER")), "none");
  EXPECT_EQ(text(environment({{"KEY", "plain"}}, "APP").app_secret("KEY")), "plain");
}

TEST(EnvironmentSecrets, CountsAnEmptyVariableAsAbsent) {
  EXPECT_EQ(text(environment({{"KEY", ""}}).app_secret("KEY")), "none");
}

TEST(EnvironmentSecrets, CannotBeWritten) {
  auto secrets = environment({});
  EXPECT_EQ(secrets.set_app_secret("K", Secret("v")).error().code, "vault.read_only");
  EXPECT_EQ(secrets.set_tenant_secret(kTenant, "K", Secret("v")).error().code, "vault.read_only");
}

class FileSecretsTest : public ::testing::Test {
 protected:
  archive::testing::TemporaryDirectory directory_;
  SystemRandom random_;
  fs::path base_ = directory_.path() / "secrets";
  FileSecrets secrets_{base_, random_};
};

TEST_F(FileSecretsTest, ReadsWhatDockerMounts) {
  fs::create_directories(base_ / "tenants" / "t1");
  std::ofstream(base_ / "db_password") << "hunter2\n";
  std::ofstream(base_ / "windows") << "hunter2\r\n";
  std::ofstream(base_ / "spaces") << " a \n\n";
  std::ofstream(base_ / "empty") << "\n";
  std::ofstream(base_ / "tenants" / "t1" / "api_key") << "k1";
  EXPECT_EQ(text(secrets_.app_secret("db_password")), "hunter2");
  EXPECT_EQ(text(secrets_.app_secret("windows")), "hunter2");
  EXPECT_EQ(text(secrets_.app_secret("spaces")), " a \n");
  EXPECT_EQ(text(secrets_.app_secret("empty")), "none");
  EXPECT_EQ(text(secrets_.app_secret("absent")), "none");
  EXPECT_EQ(text(secrets_.app_secret("tenants")), "none") << "a directory is no secret";
  EXPECT_EQ(text(secrets_.tenant_secret(kTenant, "api_key")), "k1");
}

TEST_F(FileSecretsTest, WritesPrivatelyReplacesAndRemoves) {
  ASSERT_TRUE(secrets_.set_tenant_secret(kTenant, "k", Secret("one")));
  ASSERT_TRUE(secrets_.set_tenant_secret(kTenant, "k", Secret("two")));
  EXPECT_EQ(text(secrets_.tenant_secret(kTenant, "k")), "two");
  struct stat status{};
  ASSERT_EQ(::stat((base_ / "tenants/t1/k").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
  ASSERT_EQ(::stat((base_ / "tenants/t1").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0700U);
  ASSERT_TRUE(secrets_.set_tenant_secret(kTenant, "k", std::nullopt));
  ASSERT_TRUE(secrets_.set_tenant_secret(kTenant, "k", std::nullopt)) << "twice is fine";
  EXPECT_EQ(text(secrets_.tenant_secret(kTenant, "k")), "none");
  EXPECT_TRUE(fs::is_empty(base_ / "tenants/t1")) << "no temporary file stays";
}

TEST_F(FileSecretsTest, StaysInItsDirectory) {
  for (const char* name : {"../x", "/etc/passwd", "a/b", ".hidden", "", "a\nb"}) {
    EXPECT_EQ(text(secrets_.app_secret(name)), "error vault.invalid_name") << name;
    EXPECT_EQ(secrets_.set_app_secret(name, Secret("v")).error().code, "vault.invalid_name");
  }
}

TEST_F(FileSecretsTest, RefusesAFileThatIsTooLarge) {
  fs::create_directories(base_);
  std::ofstream(base_ / "large") << std::string((1U << 20U) + 1, 'x');
  EXPECT_EQ(text(secrets_.app_secret("large")), "error vault.too_large");
  EXPECT_EQ(secrets_.set_app_secret("k", Secret(std::string((1U << 20U) + 1, 'x'))).error().code,
            "vault.too_large");
}

TEST_F(FileSecretsTest, ReportsADiskThatDoesNotTakeIt) {
  std::ofstream(base_) << "a file where the directory should be";
  EXPECT_EQ(secrets_.set_app_secret("k", Secret("v")).error().code, "vault.io");
}

class Chain : public ::testing::Test {
 protected:
  std::shared_ptr<testing::MemorySecrets> a_ = std::make_shared<testing::MemorySecrets>("a");
  std::shared_ptr<testing::MemorySecrets> b_ = std::make_shared<testing::MemorySecrets>("b");
  SecretChain chain_{{a_, b_}, b_, {}};
};

TEST_F(Chain, TakesTheFirstThatHasIt) {
  ASSERT_TRUE(b_->set_app_secret("k", Secret("from b")));
  EXPECT_EQ(text(chain_.app_secret("k")), "from b");
  ASSERT_TRUE(a_->set_app_secret("k", Secret("from a")));
  EXPECT_EQ(text(chain_.app_secret("k")), "from a");
  EXPECT_EQ(text(chain_.app_secret("other")), "none");
}

TEST_F(Chain, SkipsAProviderThatFails) {
  ASSERT_TRUE(b_->set_tenant_secret(kTenant, "k", Secret("v")));
  a_->fail_with(Error{Kind::unavailable, "vault.sealed", "sealed"});
  EXPECT_EQ(text(chain_.tenant_secret(kTenant, "k")), "v");
}

TEST_F(Chain, DoesNotCallASecretMissingWhenAProviderFailed) {
  a_->fail_with(Error{Kind::unavailable, "vault.sealed", "sealed"});
  EXPECT_EQ(text(chain_.app_secret("k")), "error vault.sealed");
}

TEST_F(Chain, WritesToItsWriterOnlyAndPassesErrorsOn) {
  ASSERT_TRUE(chain_.set_app_secret("k", Secret("v")));
  EXPECT_EQ(text(a_->app_secret("k")), "none");
  EXPECT_EQ(text(b_->app_secret("k")), "v");
  b_->fail_with(Error{Kind::denied, "vault.denied", "no"});
  EXPECT_EQ(chain_.set_tenant_secret(kTenant, "k", Secret("v")).error().code, "vault.denied");
  SecretChain readers_only({a_}, nullptr, {});
  EXPECT_EQ(readers_only.set_app_secret("k", Secret("v")).error().code, "vault.read_only");
}

TEST(ChainOrder, HasTheDefaultsOfTheReference) {
  const auto none = parse_chain_order({}, {});
  EXPECT_THAT(none->readers, ElementsAre("env", "filesystem"));
  EXPECT_EQ(none->writer, "filesystem");
  EXPECT_THAT(parse_chain_order({}, "vault")->readers, ElementsAre("env"));
  const auto all = parse_chain_order(" env, Filesystem ,vault", "vault");
  EXPECT_THAT(all->readers, ElementsAre("env", "filesystem", "vault"));
  EXPECT_EQ(all->writer, "vault");
}

TEST(ChainOrder, RefusesUnknownRepeatedAndEmptyNames) {
  for (const char* chain : {"", "env,", "env,env", "consul", "env,,vault"}) {
    const auto order = parse_chain_order(chain, {});
    ASSERT_FALSE(order) << chain;
    EXPECT_EQ(order.error().code, "vault.invalid_chain");
  }
  EXPECT_EQ(parse_chain_order("env", "consul").error().code, "vault.invalid_chain");
}

}  // namespace
}  // namespace alga::vault
