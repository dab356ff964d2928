#pragma once

#include <cstddef>

#include "base/clock.h"
#include "base/result.h"

namespace alga::sql {

/// Hears what NOTIFY says on one channel, over a connection of its own. What is said while no
/// listener is open is not heard later. Not thread-safe.
class Listener {
 public:
  virtual ~Listener() = default;
  /// Blocks until something was said or `deadline` (system steady clock); answers how many notices
  /// there were. Error: `sql.unavailable`, after which the listener is of no more use.
  virtual Result<std::size_t> wait(SteadyTime deadline) = 0;
};

}  // namespace alga::sql
