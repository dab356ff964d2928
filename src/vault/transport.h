#pragma once

#include <chrono>

#include "base/result.h"
#include "domain/http.h"

namespace alga::vault {

/// One HTTP exchange with Vault. Blocks; thread-safe. Answers whatever status came; no connection
/// or a timeout is `vault.unavailable`. Bodies are bounded by the implementation (1 MiB).
class Transport {
 public:
  virtual ~Transport() = default;
  virtual Result<domain::HttpResponse> send(const domain::HttpRequest& request,
                                            std::chrono::milliseconds timeout) = 0;
};

}  // namespace alga::vault
