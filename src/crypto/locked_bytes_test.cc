#include "crypto/locked_bytes.h"

#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>
#include <type_traits>
#include <utility>

namespace alga::crypto {
namespace {

/// The sanitizers' run-time libraries turn mlock() into nothing.
constexpr bool sanitized = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);

/// VmFlags of the mapping that contains `address`, from /proc/self/smaps.
std::string flags_of(const void* address) {
  std::ifstream maps("/proc/self/smaps");
  auto wanted = reinterpret_cast<std::uintptr_t>(address);
  bool inside = false;
  for (std::string line; std::getline(maps, line);) {
    std::uintptr_t from = 0;
    std::uintptr_t to = 0;
    char dash = 0;
    std::istringstream range(line);
    if (range >> std::hex >> from >> dash >> to && dash == '-') {
      inside = wanted >= from && wanted < to;
    } else if (inside && line.starts_with("VmFlags:")) {
      return line + " ";
    }
  }
  return {};
}

TEST(LockedBytes, StartsAsZerosAndKeepsWhatIsWritten) {
  LockedBytes bytes(100);
  for (std::uint8_t byte : bytes.reveal()) EXPECT_EQ(byte, 0);
  bytes.bytes()[99] = 7;
  LockedBytes moved = std::move(bytes);
  EXPECT_EQ(moved.size(), 100U);
  EXPECT_EQ(moved.reveal()[99], 7);
}

TEST(LockedBytes, StaysOutOfCoreDumpsAndSwap) {
  LockedBytes bytes = LockedBytes::copy_of(as_bytes("secret"));
  std::string flags = flags_of(bytes.reveal().data());
  ASSERT_FALSE(flags.empty());
  EXPECT_NE(flags.find(" dd "), std::string::npos) << flags;
  if (!sanitized && can_lock_memory(4096))
    EXPECT_NE(flags.find(" lo "), std::string::npos) << flags;
}

/// What can_lock_memory() says in a process that may lock `limit` bytes and is not excused from
/// that.
bool can_lock_under(rlim_t limit, std::size_t size) {
  const pid_t child = ::fork();
  if (child == 0) {
    __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    std::array<__user_cap_data_struct, 2> none{};
    const rlimit bound{.rlim_cur = limit, .rlim_max = limit};
    const bool bounded = ::syscall(SYS_capset, &header, none.data()) == 0 &&
                         ::setrlimit(RLIMIT_MEMLOCK, &bound) == 0;
    ::_exit(!bounded ? 2 : can_lock_memory(size) ? 0 : 1);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) < 2) << status;
  return WEXITSTATUS(status) == 0;
}

TEST(LockedBytes, SaysHowMuchMayBeLocked) {
  EXPECT_TRUE(can_lock_under(1U << 20U, 64U << 10U));
  EXPECT_FALSE(can_lock_under(64U << 10U, 1U << 20U));
  EXPECT_FALSE(can_lock_under(0, 1));
  EXPECT_TRUE(can_lock_under(0, 0));
}

TEST(LockedBytes, FaultsOnAnOverrun) {
  LockedBytes bytes(16);
  volatile const std::uint8_t* data = bytes.reveal().data();
  EXPECT_DEATH({ [[maybe_unused]] std::uint8_t beyond = data[16]; }, "");
}

TEST(LockedBytes, MayBeEmpty) {
  EXPECT_TRUE(LockedBytes{}.empty());
  EXPECT_TRUE(LockedBytes{0}.empty());
  EXPECT_EQ(LockedBytes{}.reveal_text(), "");
}

TEST(LockedBytes, DecodesBase64AsStrictlyAsTheOrdinaryDecoder) {
  for (const char* text :
       {"", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "/+8=", "Zg",
        "Zg=", "Zh==", "Z===", "====", "Zm9v\n", "Zm 9", "Zm-_", "Zg==Zg==", "=Zg=", "Zm9v===="}) {
    auto expected = base64_decode(text);
    auto locked = base64_decode_locked(text);
    ASSERT_EQ(locked.has_value(), expected.has_value()) << text;
    if (locked) EXPECT_EQ(locked->reveal_text(), *expected) << text;
  }
}

static_assert(!std::is_copy_constructible_v<LockedBytes>);

}  // namespace
}  // namespace alga::crypto
