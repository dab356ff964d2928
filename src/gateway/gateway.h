#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "async/task.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/random.h"
#include "domain/ports/authenticator.h"
#include "domain/ports/execution_log.h"
#include "domain/ports/idempotency.h"
#include "domain/ports/install_configs.h"
#include "domain/ports/runner.h"
#include "domain/ports/spans.h"
#include "domain/quota.h"
#include "httpd/message.h"

namespace alga::gateway {

struct Options {
  /// Origins (`https://app.example.com`) whose pages may call the gateway. Compared exactly.
  std::vector<std::string> allowed_origins;
  /// Wall time of a guest whose install has no limit of its own, sent as its limit
  /// (`EXT_GATEWAY_TIMEOUT_MS`).
  std::chrono::milliseconds timeout{30'000};
  /// What queueing, a cold component and the way to the runner may add before 504.
  std::chrono::milliseconds grace{10'000};
  std::uint64_t max_body = 10U << 20U;
  /// Versions that declare no endpoints at all take every path; else they take none.
  bool allow_undeclared_endpoints = false;
  domain::Rate rate;  ///< per tenant and extension
  /// Share of the traces that begin here which are sampled; a caller's decision is kept.
  double trace_sampling = 1.0;
  /// How many extensions may stand behind a request that an extension makes of this gateway.
  std::uint32_t max_depth = 4;
  /// Request headers that guests see beyond the built-in list, such as a webhook's signature.
  std::vector<std::string> extra_request_headers;
};

/// What the gateway stands on; all of it outlives the Gateway.
struct Dependencies {
  domain::Authenticator* principals = nullptr;
  domain::InstallConfigs* installs = nullptr;
  domain::Runner* runner = nullptr;
  domain::ExecutionLog* executions = nullptr;
  domain::IdempotencyStore* idempotency = nullptr;
  domain::SpanSink* spans = nullptr;  ///< null: nobody takes spans
  const Clock* clock = nullptr;
  Random* random = nullptr;
  Metrics* metrics = nullptr;
  Logger log;
  Options options;
};

/// The public way to an extension: `/api/ext/{extension}/{path…}` for programs and
/// `/api/ext-proxy/{extension}/{path…}` for the iframe's proxy, which may tunnel methods.
///
/// Each request is, in this order: authenticated, given a tenant, led to an enabled install,
/// matched with a declared endpoint, held to the role, rate-limited, made idempotent, written to
/// the execution log, run, and written off. Any of these that fails refuses the request; nothing is
/// served when a dependency is down. Answers of our own carry the reference's `error` string with
/// our `code` and `request_id` beside it. Thread-safe.
class Gateway {
 public:
  explicit Gateway(Dependencies dependencies);
  ~Gateway();
  Gateway(const Gateway&) = delete;
  Gateway& operator=(const Gateway&) = delete;

  /// The router's handlers refer to this object.
  void add_routes(httpd::Router& router);

 private:
  class Call;
  enum class Surface : bool { ext, proxy };

  async::Task<httpd::Response> serve(Surface surface, httpd::Request request);
  async::Task<std::optional<httpd::Response>> screen(httpd::Request request);
  httpd::Response too_large(const httpd::Request& request);
  [[nodiscard]] httpd::Response preflight(const httpd::Request& request) const;
  void add_cors(const httpd::Request& request, httpd::Response& response) const;
  [[nodiscard]] bool is_allowed_origin(std::string_view origin) const;
  void count(std::string_view outcome, SteadyTime since);

  Dependencies use_;
  std::map<std::string_view, Counter*> outcomes_;
  Histogram& seconds_;
  domain::RateLimiter limiter_;
};

}  // namespace alga::gateway
