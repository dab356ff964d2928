// What the cache does when its disk is fuller than its bound knows.

#include <gtest/gtest.h>
#include <sys/mount.h>

#include <future>
#include <random>
#include <string>

#include "archive/testing.h"
#include "base/testing_metrics.h"
#include "blob/bundle_cache.h"
#include "blob/layout.h"
#include "blob/testing.h"
#include "crypto/digest.h"

namespace alga::blob {
namespace {

constexpr std::size_t KiB = 1024;

/// Bytes that do not compress.
std::string noise(std::size_t bytes) {
  static std::mt19937 generator(58);
  std::string out(bytes, '\0');
  for (char& c : out) c = static_cast<char>(generator());
  return out;
}

class FullDisk : public ::testing::Test {
 protected:
  void SetUp() override {
    mounted_ = ::mount("tmpfs", folder_.path().c_str(), "tmpfs", 0, "size=1m") == 0;
    if (!mounted_) GTEST_SKIP() << "this user may not mount a small disk";
    BundleCache::Options options{.root = folder_.path() / "cache", .limits = {}};
    options.limits.archive_bytes = 300 * KiB;
    auto cache = BundleCache::open(options, {store_, clock_, random_, metrics_, {}});
    ASSERT_TRUE(cache) << cache.error().message;
    cache_ = std::move(*cache);
  }
  ~FullDisk() override {
    cache_.reset();
    if (mounted_) ::umount(folder_.path().c_str());
  }
  ContentHash publish(std::string_view content) {
    const std::string bundle = archive::testing::TarBuilder().file("dist/main.wasm", content).zst();
    const ContentHash hash = *ContentHash::parse(crypto::sha256_hex(bundle));
    store_.put(bundle_key(tenant_, extension_, hash), bundle);
    return hash;
  }
  /// The code of the error, empty when it is there.
  std::string get(const ContentHash& hash) {
    std::promise<std::string> code;
    cache_->get(tenant_, extension_, hash, BundleCache::Shared::no, [&code](auto bundle) {
      code.set_value(bundle ? "" : std::string(bundle.error().code));
    });
    return code.get_future().get();
  }
  bool is_there(const ContentHash& hash) {
    return cache_->find_ready(tenant_, extension_, hash, BundleCache::Shared::no) != nullptr;
  }

  archive::testing::TemporaryDirectory folder_;
  bool mounted_ = false;
  testing::MemoryBundleStore store_;
  ManualClock clock_;
  SystemRandom random_;
  alga::testing::CountingMetrics metrics_;
  const TenantId tenant_ = *TenantId::parse("t1");
  const ExtensionId extension_ = *ExtensionId::parse("e1");
  std::unique_ptr<BundleCache> cache_;
};

TEST_F(FullDisk, TheLeastUsedGiveWayAsFarAsIsNeeded) {
  const ContentHash oldest = publish(noise(200 * KiB)), used = publish(noise(200 * KiB)),
                    newest = publish(noise(200 * KiB)), wanted = publish(noise(240 * KiB));
  for (const ContentHash& hash : {oldest, used, newest}) ASSERT_EQ(get(hash), "");
  EXPECT_EQ(get(wanted), "");
  EXPECT_TRUE(is_there(wanted));
  EXPECT_FALSE(is_there(oldest));
  EXPECT_TRUE(is_there(used));
  EXPECT_TRUE(is_there(newest));
}

TEST_F(FullDisk, WhatDoesNotFitCostsNobodyHisPlace) {
  const ContentHash one = publish(noise(200 * KiB)), other = publish(noise(200 * KiB));
  for (const ContentHash& hash : {one, other}) ASSERT_EQ(get(hash), "");
  const ContentHash huge = publish(std::string(2048 * KiB, 'x'));
  EXPECT_EQ(get(huge), "archive.disk_full");
  EXPECT_TRUE(is_there(one));
  EXPECT_TRUE(is_there(other));
  EXPECT_EQ(metrics_.count("alga_bundle_cache_evictions_total"), 0);
}

TEST_F(FullDisk, AnArchiveThatDoesNotFitCostsNobodyHisPlace) {
  const ContentHash one = publish(noise(240 * KiB)), other = publish(noise(240 * KiB)),
                    third = publish(noise(240 * KiB)), wanted = publish(noise(295 * KiB));
  for (const ContentHash& hash : {one, other, third}) ASSERT_EQ(get(hash), "");
  EXPECT_EQ(get(wanted), "archive.disk_full") << "how much room it needs nobody knows yet";
  EXPECT_TRUE(is_there(one));
  EXPECT_TRUE(is_there(other));
  EXPECT_TRUE(is_there(third));
}

}  // namespace
}  // namespace alga::blob
