#pragma once

#include <cstdint>

#include "base/clock.h"

namespace alga::domain {

/// Tells whoever keeps answers about installs whether they still hold. Thread-safe, never blocks.
///
/// As long as `holding_until` has not passed, whoever acknowledges a change waits until this
/// process has seen it, or until `holding_until` has passed: an answer that was asked for under the
/// present `epoch` is then as good as a new one. Past it, or under another epoch, it is not.
class ChangeFeed {
 public:
  struct View {
    std::uint64_t epoch = 0;
    SteadyTime holding_until{};  ///< SteadyTime{}: never held
  };
  virtual ~ChangeFeed() = default;
  [[nodiscard]] virtual View view() const = 0;
};

/// The header by which a gateway says that it is held to a ChangeFeed.
inline constexpr const char* lease_holder_header = "x-alga-lease-holder";

}  // namespace alga::domain
