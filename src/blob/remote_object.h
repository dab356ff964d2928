#pragma once

#include <chrono>
#include <functional>

#include "blob/object_transport.h"

namespace alga::blob {

/// How often and how long a remote store tries.
struct RetryPolicy {
  int attempts = 3;
  std::chrono::milliseconds first_pause{100};  ///< doubles each time
  /// Waits between attempts; tests count instead.
  std::function<void(std::chrono::milliseconds)> pause;

  void wait(std::chrono::milliseconds time) const;
};

/// Sends the request that `make` builds anew for each attempt. Failures of the connection, 429 and
/// 5xx are tried again unless bytes have reached the sink or the transport has been aborted. The
/// last answer or error comes back.
Result<ObjectResponse> send_with_retries(ObjectTransport& transport,
                                         const std::function<ObjectRequest()>& make,
                                         const RetryPolicy& policy, std::uint64_t max_bytes,
                                         domain::ByteSink sink);

/// For requests whose answer carries nothing of interest.
[[nodiscard]] domain::ByteSink discard();

/// An answer that is not 2xx as `blob.not_found`, `blob.denied`, `blob.unavailable` or, for an S3
/// server that says so, `blob.bucket_missing`.
[[nodiscard]] Error remote_error(const ObjectResponse& response);

/// Text of the first `<Code>` of an S3 error document; empty when there is none.
[[nodiscard]] std::string s3_error_code(std::string_view body);

}  // namespace alga::blob
