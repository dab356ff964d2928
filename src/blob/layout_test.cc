#include "blob/layout.h"

#include <gtest/gtest.h>

namespace alga::blob {
namespace {

const std::string kHex(64, 'a');

TEST(Layout, UsesTheKeysOfTheReference) {
  const auto tenant = *TenantId::parse("t1");
  const auto extension = *ExtensionId::parse("e1");
  const auto hash = *ContentHash::parse("sha256:" + kHex);
  EXPECT_EQ(bundle_key(tenant, extension, hash),
            "tenants/t1/extensions/e1/sha256/" + kHex + "/bundle.tar.zst");
  EXPECT_EQ(manifest_key(tenant, extension, hash),
            "tenants/t1/extensions/e1/sha256/" + kHex + "/manifest.json");
  EXPECT_EQ(shared_bundle_key(hash), "sha256/" + kHex + "/bundle.tar.zst");
  EXPECT_EQ(staging_key("u1"), "sha256/_staging/u1/bundle.tar.zst");
  for (const std::string& key :
       {bundle_key(tenant, extension, hash), manifest_key(tenant, extension, hash),
        shared_bundle_key(hash), shared_manifest_key(hash), staging_key("u1")}) {
    EXPECT_TRUE(is_object_key(key)) << key;
  }
}

TEST(Layout, TakesOnlyKeysThatStayBelowTheirRoot) {
  for (const char* key : {"", "/a", "a/", "a//b", "../a", "a/../b", "a/./b", ".hidden", "a/.b",
                          "a b", "a%2fb", "a?x", "a\\b", "a\nb"}) {
    EXPECT_FALSE(is_object_key(key)) << key;
  }
  EXPECT_FALSE(is_object_key(std::string("a\0b", 3)));
  EXPECT_FALSE(is_object_key(std::string(1025, 'a')));
}

TEST(Layout, KnowsAStagingKeyFromACanonicalOne) {
  EXPECT_EQ(*parse_staging_key(staging_key("0192-ab")), "0192-ab");
  for (const std::string& key :
       {"sha256/" + kHex + "/bundle.tar.zst", std::string("sha256/_staging//bundle.tar.zst"),
        std::string("sha256/_staging/a/b/bundle.tar.zst"),
        std::string("sha256/_staging/../bundle.tar.zst"),
        std::string("sha256/_staging/bundle.tar.zst"),
        "tenants/t/extensions/e/sha256/" + kHex + "/bundle.tar.zst"}) {
    const auto id = parse_staging_key(key);
    ASSERT_FALSE(id) << key;
    EXPECT_EQ(id.error().code, "blob.invalid_key");
  }
}

}  // namespace
}  // namespace alga::blob
