#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "async/task.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/secret.h"
#include "domain/http.h"

namespace alga::domain {

/// What the kept answers of one install are sealed with. The control plane makes it and gives it to
/// gateways with the install's configuration; it is in no database.
struct AnswerKey {
  std::string id;
  Secret bytes;  ///< 32
};

/// What an idempotency key belongs to. The same key elsewhere is another key.
struct IdempotencyScope {
  TenantId tenant;
  InstallId install;
  std::string caller;    ///< role and id: what one user was answered is no other's
  std::string endpoint;  ///< method and declared template, or method and path
  std::string key;       ///< 1 to 255 visible characters
  /// For stores that outlive the process; without one such a store keeps no answer.
  std::shared_ptr<const AnswerKey> answer_key = nullptr;
};

/// An answer that may be given again. Holds no envelope and no header of the request.
struct StoredAnswer {
  std::uint16_t status = 0;
  Headers headers;
  std::string body;
};

struct IdempotencyClaim {
  enum class Kind : std::uint8_t {
    fresh,        ///< run it; then complete() or release()
    replay,       ///< it was done: `answer`
    in_progress,  ///< somebody is at it
    mismatch,     ///< the key was used for another request
  } kind = Kind::fresh;
  StoredAnswer answer;
};

/// Makes one execution of many requests with one key. Bounded in entries, bytes and time. Error:
/// `idempotency.unavailable`; the caller must then refuse the request.
class IdempotencyStore {
 public:
  virtual ~IdempotencyStore() = default;
  /// `digest` is the SHA-256 (hex) of the request. A claim that is neither completed nor released
  /// ends after `lease`.
  virtual async::Task<Result<IdempotencyClaim>> claim(IdempotencyScope scope, std::string digest,
                                                      std::chrono::milliseconds lease) = 0;
  virtual async::Task<Status> complete(IdempotencyScope scope, std::string digest,
                                       StoredAnswer answer) = 0;
  /// The outcome is not to be repeated (a platform failure, an answer that is too large): the next
  /// request with the key runs again.
  virtual async::Task<Status> release(IdempotencyScope scope, std::string digest) = 0;
};

}  // namespace alga::domain
