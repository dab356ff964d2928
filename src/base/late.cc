#include "base/late.h"

#include <thread>

namespace alga {

bool comes_late() noexcept {
#ifdef ALGA_LATE
  return true;
#else
  return false;
#endif
}

void come_late(std::chrono::milliseconds by) {
  if (comes_late()) std::this_thread::sleep_for(by);
}

}  // namespace alga
