#include "base/time_slice.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <thread>

namespace alga {
namespace {

/// `sched_runtime` of the calling thread in nanoseconds; its offset is part of the kernel's ABI.
std::uint64_t slice_of_this_thread() {
  constexpr std::size_t runtime_at = 24;
  std::array<std::uint8_t, 48> attributes{};
  std::uint64_t runtime = 0;
  EXPECT_EQ(::syscall(SYS_sched_getattr, 0, attributes.data(), attributes.size(), 0), 0);
  std::memcpy(&runtime, attributes.data() + runtime_at, sizeof runtime);
  return runtime;
}

/// Linux 6.12 was the first to know slices of ordinary threads.
bool kernel_knows_slices() {
  utsname about{};
  int major = 0;
  int minor = 0;
  EXPECT_EQ(::uname(&about), 0);
  EXPECT_EQ(std::sscanf(about.release, "%d.%d", &major, &minor), 2);
  return major > 6 || (major == 6 && minor >= 12);
}

TEST(TimeSlice, AThreadThatAsksHasShortTurnsAndKeepsItsNiceness) {
  std::thread([] {
    ASSERT_EQ(::setpriority(PRIO_PROCESS, 0, 3), 0);
    ASSERT_TRUE(ask_for_short_turns(std::chrono::microseconds{200}));
    EXPECT_EQ(::getpriority(PRIO_PROCESS, 0), 3);
    if (kernel_knows_slices()) EXPECT_EQ(slice_of_this_thread(), 200'000U);
  }).join();
}

TEST(TimeSlice, OneThreadsTurnsAreNotAnothers) {
  const std::uint64_t before = slice_of_this_thread();
  std::thread([] { EXPECT_TRUE(ask_for_short_turns(brief_turn)); }).join();
  EXPECT_EQ(slice_of_this_thread(), before);
}

TEST(TimeSlice, NoTurnAtAllIsRefused) {
  EXPECT_FALSE(ask_for_short_turns(std::chrono::nanoseconds{0}));
  EXPECT_FALSE(ask_for_short_turns(std::chrono::nanoseconds{-1}));
}

}  // namespace
}  // namespace alga
