#include "blob/filesystem_bundle_store.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <thread>
#include <vector>

#include "archive/testing.h"
#include "blob/testing_contract.h"

namespace alga::blob {
namespace {

namespace fs = std::filesystem;

class FileSystemStore : public ::testing::Test {
 protected:
  FileSystemStore() {
    fs::create_directory(root());
    fs::create_directory(uploads());
  }
  [[nodiscard]] fs::path root() const { return directory_.path() / "store"; }
  [[nodiscard]] fs::path uploads() const { return directory_.path() / "uploads"; }
  std::string file(const std::string& name, const std::string& content) {
    std::ofstream(uploads() / name) << content;
    return (uploads() / name).string();
  }
  archive::testing::TemporaryDirectory directory_;
  SystemRandom random_;
  FileSystemBundleStore store_{root(), random_};
};

TEST_F(FileSystemStore, KeepsTheContract) { testing::expect_bundle_store(store_, uploads()); }

TEST_F(FileSystemStore, LeavesNoEmptyDirectories) {
  ASSERT_TRUE(store_.put_file("a/b/c", file("f", "x")));
  ASSERT_TRUE(store_.remove("a/b/c"));
  EXPECT_TRUE(fs::is_empty(root()));
}

TEST_F(FileSystemStore, TakesWhatAKilledPutLeftWithTheRestOfItsDirectory) {
  const auto leave = [&](const char* name, std::chrono::minutes age) {
    fs::create_directories(root() / "a/b");
    std::ofstream(root() / "a/b" / name) << "half a bundle";
    fs::last_write_time(root() / "a/b" / name, fs::file_time_type::clock::now() - age);
  };
  leave(".put-0123456789abcdef", std::chrono::minutes{61});
  leave(".put-fedcba9876543210", std::chrono::minutes{59});
  ASSERT_TRUE(store_.put_file("a/b/c", file("f", "x")));
  ASSERT_TRUE(store_.remove("a/b/c"));
  EXPECT_FALSE(fs::exists(root() / "a/b/.put-0123456789abcdef"));
  EXPECT_TRUE(fs::exists(root() / "a/b/.put-fedcba9876543210")) << "that put may be alive";
  leave(".put-fedcba9876543210", std::chrono::minutes{61});
  EXPECT_EQ(store_.remove("a/b/c").error().code, "blob.not_found");
  EXPECT_TRUE(fs::is_empty(root()));
}

TEST_F(FileSystemStore, FollowsNoLinkAndServesNoDirectory) {
  std::ofstream(directory_.path() / "outside") << "secret";
  fs::create_symlink(directory_.path() / "outside", root() / "link");
  fs::create_directory(root() / "folder");
  EXPECT_EQ(testing::read_object(store_, "link").error().code, "blob.denied");
  EXPECT_FALSE(*store_.exists("link"));
  EXPECT_EQ(testing::read_object(store_, "folder").error().code, "blob.not_found");
}

TEST_F(FileSystemStore, ReportsAMissingUploadAndAMissingRoot) {
  EXPECT_EQ(store_.put_file("a", "/nonexistent").error().code, "archive.io");
  EXPECT_TRUE(fs::is_empty(root()));
  FileSystemBundleStore nowhere(root() / "gone", random_);
  EXPECT_EQ(nowhere.probe().error().code, "blob.unavailable");
}

TEST_F(FileSystemStore, GivesReadersTheOldObjectOrTheNewOne) {
  const std::string a = file("a", std::string(200'000, 'a'));
  const std::string b = file("b", std::string(200'000, 'b'));
  ASSERT_TRUE(store_.put_file("k", a));
  std::jthread writer([&] {
    for (int i = 0; i < 20; ++i) EXPECT_TRUE(store_.put_file("k", i % 2 == 0 ? b : a));
  });
  for (int i = 0; i < 200; ++i) {
    const auto bytes = testing::read_object(store_, "k");
    ASSERT_TRUE(bytes);
    ASSERT_EQ(bytes->size(), 200'000U);
    ASSERT_EQ(bytes->find_first_not_of(bytes->front()), std::string::npos);
  }
}

TEST_F(FileSystemStore, SurvivesPutsAndRemovesOfNeighbours) {
  const std::string upload = file("u", "x");
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      const std::string key = "shared/deep/" + std::to_string(t);
      for (int i = 0; i < 50; ++i) {
        EXPECT_TRUE(store_.put_file(key, upload));
        EXPECT_TRUE(store_.remove(key));
      }
    });
  }
}

}  // namespace
}  // namespace alga::blob
