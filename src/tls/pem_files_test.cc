#include "tls/pem_files.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <memory>

#include "base/testing_folder.h"
#include "tls/testing_authority.h"

namespace alga::tls {
namespace {

class PemFilesTest : public ::testing::Test {
 protected:
  /// The message of the refusal, which must be `tls.bad_files`.
  static std::string refusal(const Result<Validity>& result) {
    EXPECT_FALSE(result.has_value());
    if (result) return {};
    EXPECT_EQ(result.error().code, "tls.bad_files");
    return result.error().message;
  }

  alga::testing::TestingFolder folder_;
  TestingAuthority authority_;
  TestingIdentity identity_ = authority_.issue({"DNS:a.test"});
};

TEST_F(PemFilesTest, TellsWhenACertificateHolds) {
  const std::string key = folder_.put("key.pem", identity_.private_key);
  const auto validity = check_identity(folder_.put("cert.pem", identity_.certificate), key).value();
  const auto now = std::chrono::system_clock::now();
  EXPECT_LT(validity.from, now);
  EXPECT_GT(validity.until, now);
  EXPECT_LT(validity.until, now + std::chrono::days{30});

  const TestingIdentity old = authority_.issue_expired({"DNS:a.test"});
  const auto expired = check_identity(folder_.put("old.pem", old.certificate),
                                      folder_.put("old.key", old.private_key))
                           .value();
  EXPECT_LT(expired.until, now);
}

TEST_F(PemFilesTest, NamesTheFileThatIsWrongAndWhy) {
  const std::string certificate = folder_.put("cert.pem", identity_.certificate);
  const std::string key = folder_.put("key.pem", identity_.private_key);
  const std::string none = folder_.path("none.pem");
  const std::string text = folder_.put("text.pem", "no PEM");
  EXPECT_EQ(refusal(check_identity(none, key)), none + ": No such file or directory");
  EXPECT_EQ(refusal(check_identity(certificate, none)), none + ": No such file or directory");
  EXPECT_EQ(refusal(check_identity(text, key)), text + ": there is no PEM certificate in it");
  EXPECT_EQ(refusal(check_identity(certificate, text)),
            text + ": there is no PEM private key in it");
  const std::string other = folder_.put("other.key", authority_.issue({"DNS:b.test"}).private_key);
  EXPECT_TRUE(refusal(check_identity(certificate, other)).contains("does not belong"));
}

TEST_F(PemFilesTest, RefusesAnEncryptedKeyWithoutAskingAnybody) {
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(EVP_EC_gen("P-256"),
                                                                &EVP_PKEY_free);
  const std::string path = folder_.path("locked.key");
  std::FILE* file = std::fopen(path.c_str(), "w");
  ASSERT_NE(file, nullptr);
  const unsigned char password[] = {'p', 'w'};
  EXPECT_EQ(PEM_write_PrivateKey(file, key.get(), EVP_aes_256_cbc(), password, sizeof password,
                                 nullptr, nullptr),
            1);
  std::fclose(file);
  const std::string said =
      refusal(check_identity(folder_.put("c.pem", identity_.certificate), path));
  EXPECT_TRUE(said.contains("encrypted")) << said;
}

TEST_F(PemFilesTest, WantsAtLeastOneAuthority) {
  EXPECT_TRUE(check_authorities(folder_.put("ca.pem", authority_.certificate())).has_value());
  EXPECT_EQ(check_authorities(folder_.put("empty.pem", "")).error().code, "tls.bad_files");
  EXPECT_EQ(check_authorities(folder_.path("none.pem")).error().code, "tls.bad_files");
}

}  // namespace
}  // namespace alga::tls
