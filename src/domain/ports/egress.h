#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

#include "base/callback.h"
#include "base/clock.h"
#include "domain/egress_policy.h"
#include "domain/http.h"

namespace alga::domain {

/// One outgoing request of a guest.
struct EgressRequest {
  HttpRequest http;
  std::shared_ptr<const EgressPolicy> policy;
  /// Connections are shared only within one partition (tenant, install and policy).
  std::string partition;
  SteadyTime deadline;
  std::uint64_t max_response_bytes = 10U << 20U;
  HeaderLimits header_limits;  ///< of the request and of its answer
  std::uint32_t depth = 1;     ///< sent as `x-alga-depth`
};

/// The one way out for guests. Judges the URL and the address of each connection by the policy.
/// Errors: `egress.invalid_url`, `egress.denied`, `egress.transport`, `egress.timeout`,
/// `egress.too_large`, `egress.too_many_headers`, `egress.headers_too_large`, `egress.cancelled`.
/// Redirects are returned, not followed.
class Egress {
 public:
  virtual ~Egress() = default;
  /// `done` runs on the adapter's thread. The returned number names the request for cancel().
  virtual std::uint64_t fetch(EgressRequest request, Callback<HttpResponse> done) = 0;
  /// The request is dropped and its callback is called with `egress.cancelled` if it has not been
  /// called yet. Unknown numbers are ignored.
  virtual void cancel(std::uint64_t id) = 0;
};

}  // namespace alga::domain
