#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "async/blocking_pool.h"
#include "async/gate.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/random.h"
#include "base/secret.h"
#include "blob/bundle_cache.h"
#include "domain/egress_policy.h"
#include "domain/envelope.h"
#include "domain/grant.h"
#include "domain/limits.h"
#include "domain/ports/bundle_store.h"
#include "domain/ports/records.h"
#include "domain/ports/runner.h"
#include "domain/ports/secret_opener.h"
#include "domain/ports/warm_up_target.h"
#include "engine/engine.h"
#include "httpd/message.h"
#include "runner/health_watch.h"
#include "runner/idempotency.h"
#include "runner/preparations.h"
#include "runner/refusal_log.h"

// The runner role: `POST /v1/execute` and what belongs to it. docs/contracts has the wire.

namespace alga::runner {

struct Options {
  /// Whom to believe about what an execution may do.
  enum class Trust : std::uint8_t {
    grant,          ///< only a signed grant
    service_token,  ///< the request, from a caller with the service token (drop-in use)
  };
  Trust trust = Trust::grant;
  /// Asked of HTTP callers in `x-runner-service-token` when it is not empty. With neither this nor
  /// `client_names`, only callers on this machine (directly, through no proxy) or with a verified
  /// certificate are heard, and with Trust::service_token none at all.
  Secret service_token;
  /// Names in verified client certificates that count as the service token.
  std::vector<std::string> client_names;
  /// How long a request waits for its component to be compiled.
  std::chrono::milliseconds cold_wait{10'000};
  domain::ServerLimits limits;
  domain::EnvelopePolicy envelopes;
  /// Where guests may send requests without a grant; null: nowhere.
  std::shared_ptr<const domain::EgressPolicy> drop_in_egress;
  Idempotency::Options idempotency;
  /// Share of the executions that ended well whose line is logged; the others always are.
  double execution_log_sampling = 1.0;
  std::uint64_t cache_max_bytes = 0;  ///< of the bundle cache, for `/healthz`; 0: not known
};

/// All of it outlives the role.
struct Dependencies {
  engine::Engine* engine = nullptr;
  blob::BundleCache* bundles = nullptr;
  domain::BundleStore* store = nullptr;     ///< probed for readiness; null: not probed
  domain::SecretOpener* secrets = nullptr;  ///< null: envelopes are refused
  domain::GrantVerifier* grants = nullptr;  ///< null: grants are refused
  domain::RecordSink* records = nullptr;    ///< null: no records
  async::BlockingPool* pool = nullptr;
  const Clock* clock = nullptr;
  Random* random = nullptr;
  Metrics* metrics = nullptr;
  Logger log;
};

/// Runs extensions. In-process callers (the gateway) use execute(); others the HTTP routes.
/// Thread-safe. Whoever shuts down calls drain() before the engine stops.
class RunnerRole final : public domain::Runner {
 public:
  RunnerRole(Options options, Dependencies dependencies);

  /// Checks the authority, fetches, opens, runs. Cancelling the coroutine cancels the guest.
  /// `error` is one of the reference's six strings or begins with its prefix; neither it nor the
  /// other fields say more about a failure than the public may know. The idempotency key of the
  /// request is the gateway's business here; only the HTTP route looks at it.
  async::Task<domain::ExecuteResponse> execute(domain::ExecuteRequest request) override;

  /// Has a published bundle fetched, compiled where this process may compile, and linked in memory,
  /// or answers `compiling` after `cold_wait`. Permits nobody anything. Errors: those of the bundle
  /// cache and of the engine, and `runner.draining`.
  async::Task<Result<domain::WarmUpTarget::Answer>> warm_up(ContentHash hash);

  /// `POST /v1/execute` and `POST /warmup`. The role outlives the server.
  void add_routes(httpd::Router& router);
  /// `GET /healthz` and `GET /readyz`, for a process that has no other owner of them.
  void add_health_routes(httpd::Router& router);

  struct Health {
    HealthWatch::Seen seen;
    bool draining = false;
    engine::Engine::Load load;
    [[nodiscard]] bool store_reachable() const { return seen.store == HealthWatch::Store::there; }
    /// A store that is away is away for every runner: whoever has bundles goes on with them. One
    /// that refuses this process is a fault of this process.
    [[nodiscard]] bool ready() const {
      const bool served =
          store_reachable() || (seen.store == HealthWatch::Store::away && seen.has_bundles);
      return seen.cache_writable && served && !draining;
    }
  };
  /// As it was seen lately: see HealthWatch.
  async::Task<Health> health();

  /// Takes no more executions and waits for those that run; false when `deadline` (system steady
  /// clock) came first. Blocks.
  bool drain(SteadyTime deadline);

 private:
  class Call;
  struct Series {
    Histogram &queue, &cold, &instantiate, &call;
  };
  [[nodiscard]] bool is_trusted_caller(const httpd::Request& request) const;
  [[nodiscard]] std::size_t max_body() const;
  void count(const domain::ExecuteResponse& response) const;
  /// For what is refused before it is anybody's execution: counted and noted, and not recorded.
  [[nodiscard]] httpd::Response refuse(const domain::ExecuteResponse& response,
                                       const httpd::Request& request);
  [[nodiscard]] httpd::Response refuse(httpd::Response response, const httpd::Request& request);
  async::Task<httpd::Response> handle_execute(httpd::Request request);
  async::Task<httpd::Response> handle_warmup(httpd::Request request);
  async::Task<Result<domain::WarmUpTarget::Answer>> make_ready(
      ContentHash hash, std::shared_ptr<const blob::CachedBundle> bundle, std::string line);
  async::Task<httpd::Response> handle_healthz(httpd::Request request);
  async::Task<httpd::Response> handle_readyz(httpd::Request request);

  const Options options_;
  const Dependencies use_;
  const Series series_;
  Idempotency idempotency_;
  Preparations preparations_;
  RefusalLog refusals_;
  async::Gate gate_;
  HealthWatch health_watch_;
};

}  // namespace alga::runner
