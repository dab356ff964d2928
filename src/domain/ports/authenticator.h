#pragma once

#include <string>

#include "async/task.h"
#include "base/result.h"
#include "domain/principal.h"

namespace alga::domain {

/// Turns an API key or the bootstrap token into the principal behind it. A revoked or expired key
/// is refused within a second. Errors: `auth.invalid_token` (also for a token that is no such key:
/// the answer does not say which), `auth.unavailable`.
class Authenticator {
 public:
  virtual ~Authenticator() = default;
  virtual async::Task<Result<Principal>> authenticate(std::string token) = 0;
};

}  // namespace alga::domain
