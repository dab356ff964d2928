#include "runner/health_watch.h"

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <memory>
#include <optional>
#include <semaphore>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "async/spawn.h"
#include "base/metrics.h"
#include "base/random.h"
#include "blob/testing.h"

namespace alga::runner {
namespace {

using Store = HealthWatch::Store;

/// Says nothing while `held`, like a server behind a dead network path.
class SlowStore final : public domain::BundleStore {
 public:
  Status get(std::string_view, std::uint64_t, domain::ByteSink) override { return none(); }
  Status put_file(std::string_view, const std::string&) override { return none(); }
  Status remove(std::string_view) override { return none(); }
  Result<bool> exists(std::string_view) override { return false; }
  Status probe() override {
    ++probes;
    if (held) go.acquire();
    if (error) return fail(*error);
    return {};
  }

  std::atomic<int> probes = 0;
  std::atomic<bool> held = false;
  std::counting_semaphore<> go{0};
  std::optional<Error> error;

 private:
  static Status none() { return fail(Kind::not_found, "blob.not_found", "none"); }
};

class HealthWatchTest : public ::testing::Test {
 protected:
  HealthWatchTest() : root_(std::filesystem::temp_directory_path() / uuid_v7(system_, random_)) {}
  ~HealthWatchTest() override {
    store_.held = false;
    store_.go.release(100);
    pool_.close();
    cache_.reset();
    std::filesystem::remove_all(root_);
  }

  HealthWatch::Seen see() { return async::block_on(watch_.see()); }
  /// Waits until the store has been asked so often.
  void expect_probes(int count) {
    for (int i = 0; i < 2000 && store_.probes < count; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds{1});
    }
    EXPECT_EQ(store_.probes, count);
  }
  /// A look has ended once another one can begin.
  void expect_soon(Store wanted) {
    Store seen = Store::there;
    for (int i = 0; i < 2000; ++i) {
      seen = see().store;
      if (seen == wanted) return;
      std::this_thread::sleep_for(std::chrono::milliseconds{1});
    }
    FAIL() << static_cast<int>(seen);
  }

  const SystemClock system_;
  SystemRandom random_;
  NoMetrics metrics_;
  std::filesystem::path root_;
  SlowStore store_;
  std::unique_ptr<blob::BundleCache> cache_ = std::move(
      *blob::BundleCache::open({.root = root_}, {store_, system_, random_, metrics_, {}}));
  ManualClock clock_;
  async::BlockingPool pool_{2, 100};
  HealthWatch watch_{&pool_, cache_.get(), &store_, &clock_};
};

TEST_F(HealthWatchTest, AsksTheStoreOnceASecondHoweverManyAsk) {
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(see().store, Store::there);
    EXPECT_TRUE(see().cache_writable);
  }
  EXPECT_EQ(store_.probes, 1);
  clock_.advance(HealthWatch::fresh);
  for (int i = 0; i < 100; ++i) see();
  expect_probes(2);
}

TEST_F(HealthWatchTest, AStoreThatSaysNothingMakesNoAnswerLate) {
  see();
  store_.held = true;
  store_.error = Error{Kind::unavailable, "blob.unavailable", "silence"};
  for (int i = 1; i <= 5; ++i) {
    clock_.advance(HealthWatch::fresh);
    EXPECT_EQ(see().store, Store::there) << "what was seen last, second " << i;
  }
  expect_probes(2);
  store_.held = false;
  store_.go.release();
  expect_soon(Store::away);
}

TEST_F(HealthWatchTest, ALookThatDoesNotEndIsASignItself) {
  see();
  store_.held = true;
  clock_.advance(HealthWatch::fresh);
  see();
  expect_probes(2);
  clock_.advance(HealthWatch::patience - std::chrono::milliseconds{1});
  EXPECT_TRUE(see().cache_writable);
  clock_.advance(std::chrono::milliseconds{1});
  EXPECT_FALSE(see().cache_writable);
  EXPECT_EQ(see().store, Store::away);
}

TEST_F(HealthWatchTest, NobodyIsToldWhatWasLongAgo) {
  see();
  store_.error = Error{Kind::unavailable, "blob.unavailable", "gone"};
  clock_.advance(HealthWatch::stale);
  EXPECT_EQ(see().store, Store::away);
}

TEST_F(HealthWatchTest, TellsAStoreThatIsAwayFromOneThatRefuses) {
  for (const auto& [code, wanted] :
       {std::pair{"blob.unavailable", Store::away}, std::pair{"blob.denied", Store::refuses},
        std::pair{"blob.bucket_missing", Store::refuses},
        std::pair{"config.missing", Store::refuses}}) {
    store_.error = Error{Kind::unavailable, code, ""};
    clock_.advance(HealthWatch::stale);
    EXPECT_EQ(see().store, wanted) << code;
  }
}

TEST_F(HealthWatchTest, WithoutAThreadForItNothingIsWell) {
  pool_.close();
  EXPECT_FALSE(see().cache_writable);
  EXPECT_EQ(see().store, Store::away);
}

}  // namespace
}  // namespace alga::runner
