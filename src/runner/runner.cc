#include "runner/runner.h"

#include <array>
#include <utility>

#include "runner/execution.h"

namespace alga::runner {
namespace {

constexpr std::array<double, 14> seconds_buckets{
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5, 30};

}  // namespace

RunnerRole::RunnerRole(Options options, Dependencies dependencies)
    : options_(std::move(options)),
      use_(std::move(dependencies)),
      series_{.queue = use_.metrics->histogram("alga_runner_queue_seconds",
                                               "Waiting for a place to run", seconds_buckets),
              .cold = use_.metrics->histogram("alga_runner_prepare_seconds",
                                              "Fetching the bundle and loading its component",
                                              seconds_buckets),
              .instantiate = use_.metrics->histogram("alga_runner_instantiate_seconds",
                                                     "Making a fresh instance", seconds_buckets),
              .call = use_.metrics->histogram("alga_runner_call_seconds",
                                              "Running the handler, host calls included",
                                              seconds_buckets)},
      idempotency_(options_.idempotency, *use_.clock, *use_.metrics),
      preparations_(domain::lines_of(static_cast<std::uint32_t>(
                        options_.limits.value(domain::Limit::executions))),
                    use_.metrics->gauge("alga_executions_preparing",
                                        "Executions whose bundle, secrets or component are made "
                                        "ready")),
      refusals_(*use_.clock, *use_.metrics, use_.log),
      health_watch_(use_.pool, use_.bundles, use_.store, use_.clock) {}

async::Task<domain::ExecuteResponse> RunnerRole::execute(domain::ExecuteRequest request) {
  const auto pass = gate_.enter();
  if (!pass) {
    co_return failure(503, "execute_failed: ", {Kind::unavailable, "runner.draining", {}, 1},
                      domain::EndClass::overload);
  }
  Call call(*this, std::move(request), Call::Once::no);
  co_return co_await call.go();
}

void RunnerRole::count(const domain::ExecuteResponse& response) const {
  use_.metrics
      ->counter("alga_runner_executions_total", "Executions by how they ended",
                {{"end", response.end_class}})
      .add();
}

async::Task<RunnerRole::Health> RunnerRole::health() {
  const HealthWatch::Seen seen = co_await health_watch_.see();
  co_return Health{.seen = seen, .draining = gate_.closed(), .load = use_.engine->current_load()};
}

bool RunnerRole::drain(SteadyTime deadline) {
  gate_.close();
  return gate_.wait_empty(deadline);
}

}  // namespace alga::runner
