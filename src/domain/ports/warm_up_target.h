#pragma once

#include <cstdint>
#include <string>

#include "base/ids.h"
#include "base/result.h"

namespace alga::domain {

/// A bundle that is to be ready before anybody invokes it.
struct WarmUpOrder {
  ContentHash bundle;
  std::string token;  ///< sign_warmup(), for runners that cannot know who asks
};

/// A runner, or what balances several. The control plane tells it what was published, installed or
/// enabled, so that no request waits for a download, a compile or a link. Blocks until the answer;
/// repeating does no harm. Errors: those of the runner and of the way to it.
class WarmUpTarget {
 public:
  enum class Answer : std::uint8_t {
    ready,      ///< in memory
    compiling,  ///< it goes on in the background
    nothing,    ///< the bundle has no server code
  };
  virtual ~WarmUpTarget() = default;
  virtual Result<Answer> warm_up(const WarmUpOrder& order) = 0;
  /// From another thread, at shutdown: what is under way ends soon, and nothing begins any more.
  virtual void abort() noexcept {}
};

}  // namespace alga::domain
