// Bundles on a machine that has no room or no memory left.

#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>

#include "archive/extract.h"
#include "archive/file.h"
#include "archive/testing.h"

namespace alga::archive {
namespace {

namespace fs = std::filesystem;
using testing::memory_source;
using testing::TarBuilder;
using testing::TemporaryDirectory;

TEST(DiskFull, IsToldFromOtherFailures) {
  EXPECT_EQ(io_error(ENOSPC, "write").code, "archive.disk_full");
  EXPECT_EQ(io_error(EDQUOT, "write").code, "archive.disk_full");
  EXPECT_NE(io_error(EIO, "write").code, "archive.disk_full");
}

TEST(DiskFull, LeavesNothingOfTheBundle) {
  const TemporaryDirectory folder;
  if (::mount("tmpfs", folder.path().c_str(), "tmpfs", 0, "size=256k") != 0) {
    GTEST_SKIP() << "this user may not mount a small disk";
  }
  SystemRandom random;
  const std::string archive =
      TarBuilder().file("manifest.json", "{}").file("large", std::string(1U << 20U, 'x')).zst();
  const auto refused = extract_bundle(memory_source(archive), folder.path() / "out", {}, random);
  const bool empty = fs::is_empty(folder.path());
  ASSERT_EQ(::umount(folder.path().c_str()), 0);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, "archive.disk_full");
  EXPECT_TRUE(empty);
}

/// Address space of this process in bytes.
rlim_t address_space() {
  std::ifstream pages("/proc/self/statm");
  rlim_t count = 0;
  pages >> count;
  return count * static_cast<rlim_t>(::sysconf(_SC_PAGESIZE));
}

TEST(NoMemory, IsAnErrorAndNoEnd) {
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer) || \
    __has_feature(thread_sanitizer)
  GTEST_SKIP() << "sanitizers need their address space";
#endif
  const TemporaryDirectory folder;
  SystemRandom random;
  // Its decoder needs a window of 32 MiB.
  const std::string archive =
      testing::zstd(TarBuilder().file("manifest.json", std::string(40U << 20U, 'x')).tar(), 25);
  // In a child: the limit stays.
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const rlimit little{address_space() + (8U << 20U), address_space() + (8U << 20U)};
    ::setrlimit(RLIMIT_AS, &little);
    const auto refused = extract_bundle(memory_source(archive), folder.path() / "out", {}, random);
    const bool said = !refused && refused.error().code == "archive.no_memory";
    ::_exit(said ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

}  // namespace
}  // namespace alga::archive
