#include "blob/bundle_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <fstream>
#include <future>
#include <latch>
#include <mutex>
#include <new>
#include <semaphore>
#include <sstream>
#include <stdexcept>
#include <thread>
#include <vector>

#include "archive/testing.h"
#include "base/testing_metrics.h"
#include "blob/layout.h"
#include "blob/testing.h"
#include "crypto/digest.h"

namespace alga::blob {
namespace {

namespace fs = std::filesystem;
using alga::testing::CountingMetrics;
using archive::testing::TarBuilder;
using Shared = BundleCache::Shared;

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

class BundleCacheTest : public ::testing::Test {
 protected:
  static constexpr std::size_t pool_threads = 2;
  ~BundleCacheTest() override {
    if (cache_) cache_->close();
    pool_.close();
  }
  void open(std::uint64_t max_bytes = 1U << 20U) {
    cache_.reset();
    auto cache = BundleCache::open(
        {.root = root(), .max_bytes = max_bytes, .limits = {}},
        {store_, clock_, random_, metrics_, {}, [this](std::move_only_function<void()> job) {
           return pool_.submit(std::move(job));
         }});
    ASSERT_TRUE(cache) << cache.error().message;
    cache_ = std::move(*cache);
  }
  /// Publishes a bundle whose only interesting content is `text`.
  ContentHash publish(std::string_view text, const TenantId& tenant) {
    const std::string bundle = TarBuilder()
                                   .file("manifest.json", "{}")
                                   .file("dist/main.wasm", text)
                                   .file("ui/index.html", "<html>")
                                   .zst();
    const ContentHash hash = *ContentHash::parse(crypto::sha256_hex(bundle));
    store_.put(bundle_key(tenant, extension_, hash), bundle);
    return hash;
  }
  using Bundle = std::shared_ptr<const CachedBundle>;
  /// Asks and waits for the answer.
  Result<Bundle> get_for(const TenantId& tenant, const ExtensionId& extension,
                         const ContentHash& hash, Shared shared) {
    std::promise<Result<Bundle>> answer;
    cache_->get(tenant, extension, hash, shared,
                [&answer](Result<Bundle> bundle) { answer.set_value(std::move(bundle)); });
    return answer.get_future().get();
  }
  Result<Bundle> get(const ContentHash& hash, Shared shared = Shared::no) {
    return get_for(tenant_, extension_, hash, shared);
  }
  Result<Bundle> prefetch(const ContentHash& hash) {
    std::promise<Result<Bundle>> answer;
    cache_->prefetch(hash,
                     [&answer](Result<Bundle> bundle) { answer.set_value(std::move(bundle)); });
    return answer.get_future().get();
  }
  [[nodiscard]] fs::path root() const { return directory_.path() / "cache"; }
  [[nodiscard]] std::size_t entries_on_disk() const {
    std::size_t count = 0;
    for (const auto& item : fs::directory_iterator(root())) {
      count += item.path().filename() != ".lock" ? 1U : 0U;
    }
    return count;
  }

  archive::testing::TemporaryDirectory directory_;
  testing::MemoryBundleStore store_;
  ManualClock clock_;
  SystemRandom random_;
  CountingMetrics metrics_;
  TenantId tenant_ = *TenantId::parse("t1");
  TenantId other_ = *TenantId::parse("t2");
  ExtensionId extension_ = *ExtensionId::parse("e1");
  async::BlockingPool pool_{pool_threads, 100};
  std::unique_ptr<BundleCache> cache_;
};

TEST_F(BundleCacheTest, ExtractsOnceAndServesFromDisk) {
  open();
  const ContentHash hash = publish("component", tenant_);
  const auto bundle = get(hash);
  ASSERT_TRUE(bundle) << bundle.error().message;
  EXPECT_EQ(read_file(*(*bundle)->component_path()), "component");
  EXPECT_EQ((*bundle)->manifest(), "{}");
  EXPECT_EQ((*bundle)->ui_root(), (*bundle)->root() / "ui");
  EXPECT_EQ((*bundle)->index().find("dist/main.wasm")->sha256, crypto::sha256_hex("component"));
  store_.fail_with(Error{Kind::unavailable, "blob.unavailable", "down"});
  EXPECT_TRUE(get(hash)) << "must not need the store";
  EXPECT_EQ(store_.gets, 1);
  EXPECT_EQ(entries_on_disk(), 1U) << "no leftover download";
}

TEST_F(BundleCacheTest, SaysWhatABundleDoesNotHave) {
  open();
  const std::string bundle = TarBuilder().file("uix/a").file("ui.txt").zst();
  const ContentHash hash = *ContentHash::parse(crypto::sha256_hex(bundle));
  store_.put(bundle_key(tenant_, extension_, hash), bundle);
  const auto cached = get(hash);
  ASSERT_TRUE(cached);
  EXPECT_FALSE((*cached)->component_path());
  EXPECT_FALSE((*cached)->ui_root());
  EXPECT_EQ((*cached)->manifest(), "");
}

TEST_F(BundleCacheTest, BringsAPublishedBundleAheadAndStillAsksWhoMayHaveIt) {
  open();
  const std::string archive = TarBuilder().file("dist/main.wasm", "c").zst();
  const ContentHash hash = *ContentHash::parse(crypto::sha256_hex(archive));
  EXPECT_EQ(prefetch(hash).error().code, "blob.not_found");
  store_.put(shared_bundle_key(hash), archive);
  ASSERT_TRUE(prefetch(hash));
  EXPECT_EQ(get(hash).error().code, "blob.not_found") << "it is on disk, but not this tenant's";
  store_.fail_with(Error{Kind::unavailable, "blob.unavailable", "down"});
  EXPECT_TRUE(prefetch(hash)) << "twice does no harm";
  EXPECT_TRUE(get(hash, Shared::yes)) << "with a grant no download";
  EXPECT_EQ(store_.gets, 1);
}

TEST_F(BundleCacheTest, WorksOfflineAfterARestart) {
  open();
  const ContentHash hash = publish("c", tenant_);
  ASSERT_TRUE(get(hash));
  open();
  EXPECT_EQ(cache_->size(), 1U);
  store_.fail_with(Error{Kind::unavailable, "blob.unavailable", "down"});
  const auto bundle = get(hash);
  ASSERT_TRUE(bundle) << bundle.error().message;
  EXPECT_EQ(read_file(*(*bundle)->component_path()), "c");
  EXPECT_EQ((*bundle)->manifest(), "{}");
}

TEST_F(BundleCacheTest, GivesNobodyTheBundleOfAnotherTenant) {
  open();
  const ContentHash hash = publish("secret sauce", other_);
  EXPECT_EQ(get(hash).error().code, "blob.not_found");
  ASSERT_TRUE(get_for(other_, extension_, hash, Shared::no));
  EXPECT_EQ(get(hash).error().code, "blob.not_found") << "also when it is on disk";
  EXPECT_EQ(get_for(other_, *ExtensionId::parse("e2"), hash, Shared::no).error().code,
            "blob.not_found");
}

TEST_F(BundleCacheTest, TakesASharedBundleOnlyWhenAGrantNamesIt) {
  open();
  const std::string bundle = TarBuilder().file("a").zst();
  const ContentHash hash = *ContentHash::parse(crypto::sha256_hex(bundle));
  store_.put(shared_bundle_key(hash), bundle);
  EXPECT_EQ(get(hash, Shared::no).error().code, "blob.not_found");
  EXPECT_TRUE(get(hash, Shared::yes));
}

TEST_F(BundleCacheTest, RefusesAnObjectWithAnotherHash) {
  open();
  const ContentHash hash = *ContentHash::parse(crypto::sha256_hex("what was asked for"));
  store_.put(bundle_key(tenant_, extension_, hash), TarBuilder().file("evil").zst());
  EXPECT_EQ(get(hash).error().code, "blob.hash_mismatch");
  EXPECT_EQ(entries_on_disk(), 0U);
}

TEST_F(BundleCacheTest, RefusesABundleThatCannotBeExtracted) {
  open();
  const std::string bundle = TarBuilder().file("../escape").zst();
  const ContentHash hash = *ContentHash::parse(crypto::sha256_hex(bundle));
  store_.put(bundle_key(tenant_, extension_, hash), bundle);
  EXPECT_EQ(get(hash).error().code, "archive.path_traversal");
  EXPECT_EQ(entries_on_disk(), 0U);
}

TEST_F(BundleCacheTest, DownloadsOnceForAllWhoWait) {
  open();
  const ContentHash hash = publish("popular", tenant_);
  constexpr int kCallers = 8;
  // The one download ends only after everybody has asked.
  std::latch asked(1);
  std::latch answered(kCallers);
  store_.before_get = [&asked] { asked.wait(); };
  std::atomic<int> served = 0;
  for (int i = 0; i < kCallers; ++i) {
    cache_->get(tenant_, extension_, hash, Shared::no, [&](Result<Bundle> bundle) {
      if (bundle) ++served;
      answered.count_down();
    });
  }
  asked.count_down();
  answered.wait();
  EXPECT_EQ(served, kCallers);
  EXPECT_EQ(store_.gets, 1);
}

TEST_F(BundleCacheTest, ASlowDownloadTakesNoThreadOfThePoolHoweverManyWait) {
  open();
  // One bundle of many tenants, who each may have it and wait for the same download, and others.
  const ContentHash popular = publish("popular", tenant_);
  std::vector<TenantId> tenants;
  for (std::size_t i = 0; i < 4 * pool_threads; ++i) {
    tenants.push_back(*TenantId::parse("tenant-" + std::to_string(i)));
    publish("popular", tenants.back());
  }
  const ContentHash other = publish("other", tenant_);
  std::latch released(1);
  std::latch downloading(2);
  std::latch answered(static_cast<std::ptrdiff_t>(tenants.size()) + 2);
  store_.before_get = [&] {
    downloading.count_down();
    released.wait();
  };
  const auto done = [&answered](Result<Bundle> bundle) {
    EXPECT_TRUE(bundle);
    answered.count_down();
  };
  for (const TenantId& tenant : tenants) {
    cache_->get(tenant, extension_, popular, Shared::no, done);
  }
  cache_->get(tenant_, extension_, popular, Shared::no, done);
  cache_->get(tenant_, extension_, other, Shared::no, done);
  downloading.wait();
  std::promise<void> ran;
  auto done_meanwhile = ran.get_future();
  ASSERT_TRUE(pool_.submit([&ran] { ran.set_value(); }));
  EXPECT_EQ(done_meanwhile.wait_for(std::chrono::seconds{30}), std::future_status::ready)
      << "other work of the pool runs while all of them wait";
  EXPECT_FALSE(answered.try_wait());
  released.count_down();
  answered.wait();
  done_meanwhile.wait();
  EXPECT_EQ(store_.gets, 2) << "one download for each bundle";
}

TEST_F(BundleCacheTest, ServesWhatIsOnDiskWhileTheStoreIsSilent) {
  open();
  const ContentHash here = publish("here", tenant_);
  ASSERT_TRUE(get(here));
  open();  // on disk, and not in memory
  std::latch released(1);
  constexpr int kAway = 20;  // more than there are downloads at once
  std::latch answered(kAway);
  std::counting_semaphore<kAway> downloading(0);
  store_.before_get = [&] {
    downloading.release();
    released.wait();
  };
  for (int i = 0; i < kAway; ++i) {
    const ContentHash away = publish("away " + std::to_string(i), tenant_);
    cache_->get(tenant_, extension_, away, Shared::no,
                [&answered](const Result<Bundle>&) { answered.count_down(); });
  }
  for (std::size_t i = 0; i < pool_threads; ++i) downloading.acquire();
  std::promise<bool> served;
  auto meanwhile = served.get_future();
  cache_->get(tenant_, extension_, here, Shared::no,
              [&served](const Result<Bundle>& bundle) { served.set_value(bundle.has_value()); });
  EXPECT_EQ(meanwhile.wait_for(std::chrono::seconds{30}), std::future_status::ready);
  EXPECT_FALSE(answered.try_wait());
  released.count_down();
  answered.wait();
  EXPECT_TRUE(meanwhile.get());
}

TEST_F(BundleCacheTest, AnswersEverybodyWhenTheStoreThrows) {
  open();
  const ContentHash hash = publish("popular", tenant_);
  publish("popular", other_);
  std::latch asked(1);
  store_.before_get = [&asked] {
    asked.wait();
    throw std::bad_alloc();
  };
  // Two who ask the same, and one of another tenant who waits for the same download.
  const std::array<const TenantId*, 3> callers{&tenant_, &tenant_, &other_};
  std::latch answered(callers.size());
  std::mutex mutex;
  std::vector<std::string> codes;
  for (const TenantId* tenant : callers) {
    cache_->get(*tenant, extension_, hash, Shared::no, [&](const Result<Bundle>& bundle) {
      const std::scoped_lock lock(mutex);
      codes.emplace_back(bundle ? "served" : bundle.error().code);
      answered.count_down();
    });
  }
  asked.count_down();
  answered.wait();
  EXPECT_THAT(codes, ::testing::Each("async.exception"));
  store_.before_get = nullptr;
  EXPECT_TRUE(get(hash)) << "nobody waits for the download that failed";
  EXPECT_TRUE(get_for(other_, extension_, hash, Shared::no));
}

TEST_F(BundleCacheTest, AnswersWhenTheQuestionForAnObjectThrows) {
  open();
  const ContentHash hash = publish("c", tenant_);
  store_.before_exists = [] { throw std::runtime_error("broken"); };
  const auto refused = get(hash);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, "async.exception");
  EXPECT_EQ(refused.error().message, "broken");
  store_.before_exists = [] { throw 1; };
  EXPECT_EQ(get(hash).error().code, "async.exception") << "whatever it throws";
  store_.before_exists = nullptr;
  EXPECT_TRUE(get(hash));
}

TEST_F(BundleCacheTest, AnswersWhenAJobCannotBeQueued) {
  bool full = true;
  auto cache = BundleCache::open({.root = root(), .limits = {}},
                                 {store_, clock_, random_, metrics_, {}, [&](auto job) {
                                    if (full) throw std::bad_alloc();
                                    return pool_.submit(std::move(job));
                                  }});
  ASSERT_TRUE(cache);
  cache_ = std::move(*cache);
  const ContentHash hash = publish("c", tenant_);
  EXPECT_EQ(get(hash).error().code, "async.exception");
  full = false;
  EXPECT_TRUE(get(hash)) << "the question is not taken for one that is being asked";
}

TEST_F(BundleCacheTest, RefusesWhoFindsNoPlaceToWait) {
  auto cache = BundleCache::open({.root = root(), .limits = {}, .downloads = 1, .max_waiting = 1},
                                 {store_, clock_, random_, metrics_, {}, [](auto job) {
                                    job();
                                    return true;
                                  }});
  ASSERT_TRUE(cache);
  cache_ = std::move(*cache);
  std::latch released(1);
  std::promise<void> downloading;
  std::atomic<bool> first = true;
  store_.before_get = [&] {
    if (first.exchange(false)) downloading.set_value();
    released.wait();
  };
  std::atomic<int> answered = 0;
  const auto ask = [&](const char* text) {
    cache_->get(tenant_, extension_, publish(text, tenant_), Shared::no,
                [&answered](const Result<Bundle>&) { ++answered; });
  };
  ask("first");
  downloading.get_future().wait();
  ask("behind");
  const auto refused = get(publish("too many", tenant_));
  EXPECT_EQ(refused.error().code, "async.pool_full");
  EXPECT_EQ(refused.error().retry_after_s, 1U);
  released.count_down();
  cache_->close();
  EXPECT_EQ(answered, 2) << "who had a place";
}

TEST_F(BundleCacheTest, RefusesDownloadsOnceItIsClosed) {
  open();
  const ContentHash here = publish("here", tenant_);
  const ContentHash away = publish("away", tenant_);
  ASSERT_TRUE(get(here));
  cache_->close();
  EXPECT_TRUE(get(here)) << "what is there needs no thread of its own";
  const auto refused = get(away);
  EXPECT_EQ(refused.error().code, "blob.unavailable") << "as those who were waiting";
  EXPECT_EQ(refused.error().message, "the server is stopping");
}

TEST_F(BundleCacheTest, AsksTheStoreNothingMoreOnceItCloses) {
  constexpr std::size_t kDownloads = 2;
  constexpr int kWaiting = 300;
  auto cache = BundleCache::open(
      {.root = root(), .limits = {}, .downloads = kDownloads, .max_waiting = 1U << 30U},
      {store_, clock_, random_, metrics_, {}, [](auto job) {
         job();
         return true;
       }});
  ASSERT_TRUE(cache);
  cache_ = std::move(*cache);
  std::latch released(1);
  std::latch downloading(kDownloads);
  store_.before_get = [&] {
    downloading.count_down();
    released.wait();
  };
  std::atomic<int> served = 0;
  std::atomic<int> unavailable = 0;
  const auto done = [&](const Result<Bundle>& bundle) {
    if (bundle) ++served;
    if (!bundle && bundle.error().code == "blob.unavailable") ++unavailable;
  };
  for (const TenantId& tenant : {tenant_, other_}) {  // one tenant does not have all threads
    cache_->get(tenant, extension_, publish("first of " + tenant.str(), tenant), Shared::no, done);
  }
  downloading.wait();  // and nothing else gets a turn
  for (int i = 0; i < kWaiting; ++i) {
    cache_->get(tenant_, extension_, publish("behind " + std::to_string(i), tenant_), Shared::no,
                done);
  }
  std::jthread closing([this] { cache_->close(); });
  // Until it refuses, at once: then it has begun to close. Those that it took wait like the rest.
  int behind = kWaiting;
  for (bool refused = false; !refused; ++behind) {
    const ContentHash hash = *ContentHash::parse(crypto::sha256_hex(std::to_string(behind)));
    const int answered = unavailable;  // nobody else is answered before the downloads go on
    cache_->get(tenant_, extension_, hash, Shared::no, done);
    refused = unavailable > answered;
  }
  released.count_down();
  closing.join();
  EXPECT_EQ(served, kDownloads) << "what was under way";
  EXPECT_EQ(unavailable, behind) << "everybody is answered the same, the last one included";
  EXPECT_EQ(store_.gets, kDownloads);
}

TEST_F(BundleCacheTest, TriesAgainAfterAFailure) {
  open();
  const ContentHash hash = publish("c", tenant_);
  store_.fail_with(Error{Kind::unavailable, "blob.unavailable", "down"});
  EXPECT_EQ(get(hash).error().code, "blob.unavailable");
  store_.fail_with(std::nullopt);
  EXPECT_TRUE(get(hash));
}

TEST_F(BundleCacheTest, CountsAsItsFailureThatTheStoreIsAwayOrRefusesAndNotThatNothingIsThere) {
  open();
  const std::string failures = "alga_bundle_cache_failures_total";
  const ContentHash hash = publish("c", tenant_);
  EXPECT_EQ(get(ContentHash::parse(std::string(64, 'a')).value()).error().code, "blob.not_found");
  EXPECT_EQ(metrics_.count(failures), 0);
  store_.fail_with(Error{Kind::unavailable, "blob.unavailable", "down"});
  EXPECT_FALSE(get(hash));
  EXPECT_EQ(metrics_.count(failures), 1);
  store_.fail_with(Error{Kind::denied, "blob.denied", "a key that is not taken"});
  EXPECT_FALSE(get(hash));
  EXPECT_EQ(metrics_.count(failures), 2);
  store_.fail_with(std::nullopt);
  EXPECT_TRUE(get(hash));
  EXPECT_EQ(metrics_.count(failures), 2);
}

TEST_F(BundleCacheTest, RemovesTheLeastRecentlyUsed) {
  open(100'000);
  const ContentHash a = publish(std::string(40'000, 'a'), tenant_);
  const ContentHash b = publish(std::string(40'000, 'b'), tenant_);
  const ContentHash c = publish(std::string(40'000, 'c'), tenant_);
  ASSERT_TRUE(get(a));
  ASSERT_TRUE(get(b));
  ASSERT_TRUE(get(a));
  ASSERT_TRUE(get(c));
  EXPECT_LE(cache_->bytes(), 100'000U);
  EXPECT_TRUE(fs::exists(root() / a.hex()));
  EXPECT_FALSE(fs::exists(root() / b.hex()));
  ASSERT_TRUE(get(b)) << "and can fetch it again";
}

TEST_F(BundleCacheTest, NeverPullsAFileAwayFromAReader) {
  open(50'000);
  const ContentHash a = publish(std::string(40'000, 'a'), tenant_);
  const ContentHash b = publish(std::string(40'000, 'b'), tenant_);
  auto held = get(a);
  ASSERT_TRUE(held);
  ASSERT_TRUE(get(b));
  EXPECT_EQ(read_file(*(*held)->component_path()).size(), 40'000U);
  held->reset();
  ASSERT_TRUE(get(publish("tiny", tenant_)));
  EXPECT_FALSE(fs::exists(root() / a.hex())) << "given back, so it may go";
}

TEST_F(BundleCacheTest, SweepsWhatACrashLeft) {
  open();
  const ContentHash hash = publish("c", tenant_);
  ASSERT_TRUE(get(hash));
  cache_.reset();
  fs::create_directories(root() / ".unpack-0123" / "dist");
  std::ofstream(root() / ".download-0123") << "half";
  fs::create_directories(root() / ".evicted-0123");
  fs::remove(root() / hash.hex() / ".ready");
  open();
  EXPECT_EQ(entries_on_disk(), 0U);
  EXPECT_EQ(cache_->size(), 0U);
  EXPECT_TRUE(get(hash));
}

TEST_F(BundleCacheTest, FetchesAnewWhatSomebodyRemovedBelowIt) {
  open();
  const ContentHash hash = publish("c", tenant_);
  ASSERT_TRUE(get(hash));
  open();
  fs::remove_all(root() / hash.hex());
  const auto bundle = get(hash);
  ASSERT_TRUE(bundle) << bundle.error().message;
  EXPECT_EQ(read_file(*(*bundle)->component_path()), "c");
}

TEST_F(BundleCacheTest, FetchesAnewWhatItWasToldIsGone) {
  open();
  const ContentHash hash = publish("c", tenant_);
  const auto lost = get(hash);
  ASSERT_TRUE(lost);
  fs::remove_all(root() / hash.hex());
  cache_->forget(*lost);
  EXPECT_EQ(cache_->bytes(), 0U);
  EXPECT_EQ(cache_->find_ready(tenant_, extension_, hash, Shared::no), nullptr);
  const auto fetched = get(hash);
  ASSERT_TRUE(fetched) << fetched.error().message;
  EXPECT_EQ(read_file(*(*fetched)->component_path()), "c");
  cache_->forget(*lost);
  EXPECT_EQ(cache_->find_ready(tenant_, extension_, hash, Shared::no), *fetched)
      << "who is late to tell takes nothing from those who have it again";
}

TEST_F(BundleCacheTest, LetsOnlyOneProcessIn) {
  open();
  const auto second = BundleCache::open({.root = root(), .max_bytes = 1, .limits = {}},
                                        {store_, clock_, random_, metrics_, {}});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, "blob.cache_locked");
}

TEST_F(BundleCacheTest, ReportsADirectoryThatCannotBeMade) {
  std::ofstream(directory_.path() / "file") << "x";
  const auto cache = BundleCache::open({.root = directory_.path() / "file" / "cache", .limits = {}},
                                       {store_, clock_, random_, metrics_, {}});
  ASSERT_FALSE(cache);
  EXPECT_EQ(cache.error().code, "blob.cache_io");
}

}  // namespace
}  // namespace alga::blob
