#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "blob/bundle_cache.h"
#include "domain/ports/records.h"
#include "domain/trace_context.h"
#include "runner/refusal.h"
#include "runner/runner.h"

namespace alga::runner {

/// One execution on its way through the runner. Lives on the frame of execute().
class RunnerRole::Call {
 public:
  enum class Once : bool { no, yes };
  /// With Once::yes the idempotency key of the request is honoured.
  Call(RunnerRole& role, domain::ExecuteRequest request, Once once);

  /// Never throws; writes the record and the log line.
  async::Task<domain::ExecuteResponse> go();

 private:
  using Response = domain::ExecuteResponse;
  using Refusal = std::optional<Response>;

  async::Task<Response> steps();
  [[nodiscard]] Vouched vouched() const { return grant_ ? Vouched::yes : Vouched::no; }
  Refusal authorise();
  Refusal check_shape();
  async::Task<Response> run_once();
  async::Task<Response> prepare_and_run();
  Refusal may_wait();
  async::Task<Refusal> prepare();
  async::Task<Refusal> fetch_bundle();
  Refusal settle_capabilities();
  async::Task<Refusal> open_secrets();
  async::Task<Refusal> load();
  async::Task<Result<std::shared_ptr<engine::Component>>> load_once();
  async::Task<Response> run();
  Response answer_of(engine::Outcome& outcome);
  void conclude(const Response& response);
  [[nodiscard]] domain::ExecutionIdentity identity() const;

  RunnerRole& role_;
  domain::ExecuteRequest request_;
  const Once once_;
  const WallTime started_;
  const SteadyTime begun_;
  std::string method_, path_;
  domain::TraceContext trace_;  ///< with our own span as the parent of what comes next
  std::string caller_span_;
  bool authorised_ = false;
  bool replayed_ = false;
  std::shared_ptr<const domain::VerifiedGrant> grant_;
  std::shared_ptr<const blob::CachedBundle> bundle_;
  domain::CapabilitySet capabilities_;
  std::shared_ptr<const domain::SecretMap> secrets_;
  std::shared_ptr<engine::Component> component_;
  std::optional<Preparations::Place> preparing_;  ///< from the first step that waits
  std::uint64_t grant_us_ = 0, cold_us_ = 0;
  engine::Outcome outcome_;  // its response has been moved out
  std::string author_error_;
};

}  // namespace alga::runner
