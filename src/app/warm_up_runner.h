#pragma once

#include "async/spawn.h"
#include "domain/ports/warm_up_target.h"
#include "runner/runner.h"

namespace alga::app {

/// The runner of this process, told without a wire between.
class WarmUpRunner final : public domain::WarmUpTarget {
 public:
  /// `runner` outlives this.
  explicit WarmUpRunner(runner::RunnerRole& runner) : runner_(runner) {}
  Result<Answer> warm_up(const domain::WarmUpOrder& order) override {
    return async::block_on(runner_.warm_up(order.bundle));
  }

 private:
  runner::RunnerRole& runner_;
};

}  // namespace alga::app
