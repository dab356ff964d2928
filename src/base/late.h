#pragma once

#include <chrono>

namespace alga {

/// Whether this is a build for finding tests that do not wait (ALGA_LATE, preset `late`): whatever
/// a server does after it has answered (records, log lines, deliveries, warm-ups, metrics of a
/// request) comes late in it, every time. A test that takes for done what only mostly is fails
/// there, and not once in a thousand runs somewhere else. Answered by late.cc alone, so that such a
/// build differs from the released one in one file.
[[nodiscard]] bool comes_late() noexcept;

/// Holds the thread back in such a build; nothing in any other.
void come_late(std::chrono::milliseconds by);

}  // namespace alga
