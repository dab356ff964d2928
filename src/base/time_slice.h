#pragma once

#include <chrono>

namespace alga {

/// What threads ask for that pass messages on or keep time.
inline constexpr std::chrono::microseconds brief_turn{100};

/// Asks the kernel to let the calling thread in sooner and for less: its turn on a processor is
/// `slice` (100 µs to 100 ms) instead of the scheduler's usual one (about 3 ms), so that it
/// preempts a thread with a longer one when it wakes up. For threads that wake often and work
/// briefly, and for those that have work for ever and should change more often; the thread's share
/// of the processor does not change. Linux 6.12 and later; elsewhere, and where it is refused,
/// nothing happens. Returns whether the kernel took it. Source: sched(7), sched_setattr(2),
/// `sched_runtime` of SCHED_OTHER.
bool ask_for_short_turns(std::chrono::nanoseconds slice);

}  // namespace alga
