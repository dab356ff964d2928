#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/testing_metrics.h"
#include "control_plane/testing.h"

namespace alga::control_plane {
namespace {

using boost::json::object;
using testing::OnPlatform;
using testing::Platform;
using testing::Reply;

/// Two hosts on one database that store for the same installs at once.
class StorageTurns : public OnPlatform {
 protected:
  void SetUp() override {
    OnPlatform::SetUp();
    if (!platform_) return;
    publish_hello();
    for (const char* tenant : {"t1", "t2"}) {
      installs_.push_back(
          install_hello(p().admin_of(tenant), {{"capabilities", {"cap:storage.kv"}}}));
    }
    for (int host = 0; host < 2; ++host) {
      auto database = sql::open_database(
          address_, sql::OpenOptions{.repeats = &metrics_.counter("repeats", "")});
      ASSERT_TRUE(database);
      hosts_.push_back(std::make_unique<Platform>(std::move(*database), nullptr, p().secrets()));
    }
  }
  void TearDown() override {
    hosts_.clear();
    OnPlatform::TearDown();
  }
  Reply op(int host, int install, const object& body) {
    return hosts_[host]->call("POST", "/api/internal/ext-storage/install/" + installs_[install], "",
                              body, {{"x-runner-auth", "token-of-storage"}});
  }
  /// What the sum of one column of all installs is.
  std::int64_t sum(const std::string& of) {
    auto row = open()->read([&](sql::Executor& sql) { return sql.find("SELECT " + of); });
    return row.value()->at<std::int64_t>(0);
  }

  alga::testing::CountingMetrics metrics_;
  std::vector<std::string> installs_;
  std::vector<std::unique_ptr<Platform>> hosts_;
};

TEST_P(StorageTurns, NobodyLosesAndCountsAreRight) {
  constexpr int kThreads = 6, kKeys = 12;
  {
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([this, thread] {
        const auto store = [&](const char* operation, int key, int length) {
          object body{{"operation", operation},
                      {"namespace", "n" + std::to_string(key % 2)},
                      {"key", std::to_string(thread) + "-" + std::to_string(key)}};
          if (length > 0) body["value"] = std::string(length, 'v');
          const Reply done = op(thread % 2, thread % 3 == 0 ? 0 : 1, body);
          EXPECT_EQ(done.status, 200) << done.text;
        };
        for (int key = 0; key < kKeys; ++key) {
          store("put", key, 10);
          if (key % 3 == 0) store("put", key, 20);
          if (key % 3 == 1) store("delete", key, 0);
        }
      });
    }
  }
  // Of what hosts do besides, once a second each, one may lose; every second of these writes would.
  EXPECT_LT(metrics_.count("repeats"), 10);
  EXPECT_EQ(sum("count(*) FROM ext_storage_records"), kThreads * kKeys * 2 / 3);
  EXPECT_EQ(sum("CAST(sum(keys_count) AS BIGINT) FROM ext_storage_namespaces"),
            kThreads * kKeys * 2 / 3);
  EXPECT_EQ(sum("CAST(sum(bytes_used) AS BIGINT) FROM ext_storage_namespaces"),
            sum("CAST(sum(size_bytes) AS BIGINT) FROM ext_storage_records"));
}

TEST_P(StorageTurns, AnInstallThatStoresAllTheTimeCanBeRemoved) {
  std::atomic<int> stored = 0;
  std::vector<std::jthread> threads;
  for (int thread = 0; thread < 6; ++thread) {
    threads.emplace_back([this, thread, &stored] {
      for (int i = 0;; ++i) {
        const Reply done = op(thread % 2, 0,
                              {{"operation", "put"},
                               {"namespace", "n"},
                               {"key", std::to_string(thread) + "-" + std::to_string(i % 50)},
                               {"value", i}});
        if (done.status != 200) {
          EXPECT_LT(done.status, 500) << done.text;
          return;
        }
        ++stored;
      }
    });
  }
  while (stored < 100) std::this_thread::yield();
  const Reply removed = p().call("DELETE", "/api/v1/installs/" + installs_[0], p().admin_of("t1"));
  EXPECT_LT(removed.status, 300) << removed.text;
  threads.clear();
  EXPECT_EQ(sum("count(*) FROM ext_storage_records"), 0);
  EXPECT_EQ(sum("count(*) FROM ext_storage_namespaces"), 0);
}

ALGA_ON_EVERY_DATABASE(StorageTurns);

}  // namespace
}  // namespace alga::control_plane
