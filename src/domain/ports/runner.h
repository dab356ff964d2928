#pragma once

#include "async/task.h"
#include "domain/execute.h"

namespace alga::domain {

/// Runs extensions. Implemented by the runner role in this process and by an HTTP client of
/// `POST /v1/execute` elsewhere. Never fails by exception: every failure is an ExecuteResponse.
class Runner {
 public:
  virtual ~Runner() = default;
  virtual async::Task<ExecuteResponse> execute(ExecuteRequest request) = 0;
};

}  // namespace alga::domain
