#include "engine/kept_pages.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <string>
#include <string_view>

#include "engine/testing.h"

namespace alga::engine {
namespace {

namespace fs = std::filesystem;
constexpr std::uint64_t GiB = std::uint64_t{1} << 30U;

/// A made-up /proc and /sys.
class KeptPages : public ::testing::Test {
 protected:
  KeptPages() {
    std::string name = ::testing::TempDir() + "kept-pages-XXXXXX";
    root_ = ::mkdtemp(name.data());
    put("proc/meminfo", "MemFree: 1 kB\nMemTotal:       16777216 kB\n");
  }
  ~KeptPages() override { fs::remove_all(root_); }

  void put(const fs::path& path, std::string_view text) {
    fs::create_directories((root_ / path).parent_path());
    testing::write_file(root_ / path, text);
  }
  [[nodiscard]] std::uint64_t memory() const { return memory_of_process(root_); }

 private:
  fs::path root_;
};

TEST_F(KeptPages, KnowsTheMemoryOfTheMachine) {
  EXPECT_EQ(memory(), 16 * GiB);
  put("proc/self/cgroup", "0::/\n");
  put("sys/fs/cgroup/memory.max", "max\n");
  EXPECT_EQ(memory(), 16 * GiB);
}

TEST_F(KeptPages, KnowsWhatItsControlGroupAllows) {
  put("proc/self/cgroup", "0::/system.slice/algad.service\n");
  put("sys/fs/cgroup/system.slice/algad.service/memory.max", "2147483648\n");
  EXPECT_EQ(memory(), 2 * GiB);
}

TEST_F(KeptPages, KnowsWhatAGroupAboveItsOwnAllows) {
  put("proc/self/cgroup", "0::/a/b\n");
  put("sys/fs/cgroup/a/b/memory.max", "4294967296\n");
  put("sys/fs/cgroup/a/memory.max", "1073741824\n");
  EXPECT_EQ(memory(), GiB);
}

TEST_F(KeptPages, KnowsTheRootOfAContainer) {
  put("proc/self/cgroup", "0::/../../pod/container\n");
  put("sys/fs/cgroup/memory.max", "3221225472\n");
  EXPECT_EQ(memory(), 3 * GiB);
}

TEST_F(KeptPages, KnowsControlGroupsOfVersionOne) {
  put("proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/pod\n1:name=systemd:/y\n");
  put("sys/fs/cgroup/memory/pod/memory.limit_in_bytes", "536870912\n");
  EXPECT_EQ(memory(), GiB / 2);
}

TEST_F(KeptPages, HasNoMemoryWhereNothingCanBeRead) {
  EXPECT_EQ(memory_of_process("/nowhere/at/all"), 0);
  EXPECT_GT(memory_of_process(), GiB / 4) << "of this machine";
}

TEST_F(KeptPages, AreKeptWhenAQuarterOfTheMemoryIsEnough) {
  EXPECT_TRUE(keeps_pages(KeepPages::automatic, 256, 16 * GiB));
  EXPECT_FALSE(keeps_pages(KeepPages::automatic, 257, 16 * GiB));
  EXPECT_FALSE(keeps_pages(KeepPages::automatic, 1, 0)) << "nothing is known of the memory";
}

TEST_F(KeptPages, AreKeptOrNotAsTheOperatorSays) {
  EXPECT_TRUE(keeps_pages(KeepPages::on, 100'000, GiB));
  EXPECT_FALSE(keeps_pages(KeepPages::off, 1, 1000 * GiB));
}

}  // namespace
}  // namespace alga::engine
