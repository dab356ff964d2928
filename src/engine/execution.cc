#include "engine/execution.h"

#include <time.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace alga::engine {
namespace {

using domain::EndClass;

std::uint64_t thread_cpu_ns() {
  timespec at{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &at);
  return static_cast<std::uint64_t>(at.tv_sec) * 1'000'000'000U +
         static_cast<std::uint64_t>(at.tv_nsec);
}

std::vector<ab_pair> pairs_of(const domain::Headers& headers) {
  std::vector<ab_pair> pairs;
  pairs.reserve(headers.size());
  for (const domain::Header& header : headers) {
    pairs.push_back({to_ab(header.name), to_ab(header.value)});
  }
  return pairs;
}

ab_str optional_view(const std::string* text) { return text != nullptr ? to_ab(*text) : ab_str{}; }

/// The limit behind an end that the bridge does not name; for the metric, empty for none.
std::string_view limit_of(EndClass end) {
  switch (end) {
    case EndClass::cpu_limit: return "cpu_time";
    case EndClass::wall_limit: return "wall_time";
    case EndClass::memory_limit: return "memory";
    case EndClass::table_limit: return "table_elements";
    default: return "";
  }
}

}  // namespace

void Shared::count_denial(std::string_view reason) const {
  use.metrics
      ->counter("alga_denials_total", "Calls of guests that were denied, by reason",
                {{"reason", reason}})
      .add();
}

void Shared::count_limit(std::string_view limit) const {
  use.metrics
      ->counter(domain::limit_hits_metric, "Limits that stopped or refused something",
                {{"limit", limit}})
      .add();
}

Execution::Execution(std::shared_ptr<const Shared> shared, std::shared_ptr<Component> component,
                     Invocation invocation, Done done)
    : keep_(std::move(shared)),
      shared_(*keep_),
      component_(std::move(component)),
      invocation_(std::move(invocation)),
      done_(std::move(done)),
      log_(invocation_.who, shared_.use.records, *shared_.use.clock, shared_.options.limits,
           invocation_.secrets) {}

Execution::~Execution() { release(); }

bool Execution::start(std::chrono::microseconds queued) {
  queued_ = queued;
  begun_ = std::chrono::steady_clock::now();
  deadline_ = begun_ + std::chrono::milliseconds{invocation_.limits.wall_ms};
  domain::ExecuteRequest& asked = invocation_.request;
  ab_limits limits = shared_.limits;
  limits.memory_bytes = invocation_.limits.memory_bytes;

  std::vector<ab_pair> headers = pairs_of(asked.http.headers);
  ab_execute_request request{};
  request.context.request_id = to_ab(asked.request_id);
  request.context.has_request_id = 1;
  request.context.tenant_id = to_ab(asked.tenant.str());
  request.context.extension_id = to_ab(asked.extension.str());
  request.context.install_id = optional_view(asked.install ? &asked.install->str() : nullptr);
  request.context.has_install_id = asked.install ? 1 : 0;
  request.context.version_id = optional_view(asked.version ? &asked.version->str() : nullptr);
  request.context.has_version_id = asked.version ? 1 : 0;
  request.method = to_ab(asked.http.method);
  request.url = to_ab(asked.http.url);
  request.headers = headers.data();
  request.n_headers = headers.size();
  request.has_body = asked.http.body ? 1 : 0;
  if (asked.http.body) request.body = give(std::move(*asked.http.body));
  asked.http.body.reset();

  ab_error* error = nullptr;
  ab_status status = ab_exec_new(component_->raw(), &limits, &request, this, &exec_, &error);
  if (status == AB_OK) return true;
  Error why = bridge_error(status, error).error();
  Outcome outcome;
  outcome.end = status == AB_E_POOL_FULL ? EndClass::overload
                : status == AB_E_LINK    ? EndClass::link_error
                : status == AB_E_INVALID ? EndClass::bad_component
                                         : EndClass::platform;
  outcome.retry_after_s = status == AB_E_POOL_FULL ? 1 : 0;
  outcome.message = std::move(why.message);
  finish(std::move(outcome));
  return false;
}

Job::Step Execution::step() {
  std::uint64_t before = thread_cpu_ns();
  ab_poll polled = ab_exec_poll(exec_);
  cpu_ns_ += thread_cpu_ns() - before;
  if (polled == AB_POLL_READY) {
    ab_outcome raw{};
    ab_exec_outcome(exec_, &raw);
    Outcome outcome;
    outcome.end = classify(raw);
    if (outcome.end == EndClass::ok) {
      outcome.response.status = raw.status;
      for (std::size_t i = 0; i < raw.n_headers; ++i) {
        outcome.response.headers.push_back(
            {std::string(view(raw.headers[i].name)), std::string(view(raw.headers[i].value))});
      }
      if (raw.has_body != 0) outcome.response.body.emplace(view(raw.body));
    } else {
      if (outcome.end == EndClass::hostcall_limit && !stop_reason_) {
        const bool bytes = ledger_->too_many_bytes.load();
        hit(bytes ? "host_bytes" : view(raw.limit));
      }
      outcome.message = stop_reason_ ? stop_message_ : std::string(view(raw.message));
      outcome.backtrace = std::string(view(raw.backtrace));
    }
    finish(std::move(outcome));
    return Step::finished;
  }
  if (cpu_ns_ > invocation_.limits.cpu_ms * 1'000'000U) {
    end(EndClass::cpu_limit);
    return Step::finished;
  }
  return polled == AB_POLL_YIELDED ? Step::again : Step::wait;
}

void Execution::end(EndClass reason) {
  Outcome outcome;
  outcome.end = reason;
  switch (reason) {
    case EndClass::wall_limit:
      outcome.message =
          "the handler did not answer within " + std::to_string(invocation_.limits.wall_ms) + " ms";
      break;
    case EndClass::cpu_limit:
      outcome.message = "the handler used more than " + std::to_string(invocation_.limits.cpu_ms) +
                        " ms of CPU time";
      break;
    default: outcome.message = "the execution was cancelled"; break;
  }
  finish(std::move(outcome));
}

void Execution::refuse(Refusal why) {
  Outcome outcome;
  outcome.end = EndClass::overload;
  outcome.retry_after_s = 1;
  outcome.tenant_busy = true;
  switch (why) {
    case Refusal::tenant_full:
    case Refusal::tenant_waited:
      outcome.message = "the tenant runs, or has waiting, as many executions as it may";
      break;
    case Refusal::install_full:
    case Refusal::install_waited:
      outcome.message = "the install runs, or has waiting, as many executions as it may";
      break;
    case Refusal::full:
    case Refusal::waited:
      outcome.tenant_busy = false;
      outcome.message = "the server runs, or has waiting, as many executions as it may";
      break;
    case Refusal::stopping:
      outcome.tenant_busy = false;
      outcome.message = "the server is stopping";
      break;
  }
  switch (why) {
    case Refusal::full: hit("executions"); break;
    case Refusal::tenant_full: hit("executions_per_tenant"); break;
    case Refusal::install_full: hit("executions_per_install"); break;
    case Refusal::waited:
    case Refusal::tenant_waited:
    case Refusal::install_waited:
      outcome.message += ", and no place became free in time";
      hit("queue_wait");
      break;
    case Refusal::stopping: outcome.stopping = true; break;
  }
  finish(std::move(outcome));
  conclude();
}

EndClass Execution::classify(const ab_outcome& outcome) const {
  const EndClass end = end_of(outcome);
  // A handler that gave up on hearing that an address is denied failed for want of a rule.
  const bool failed = end == EndClass::guest_error || end == EndClass::trap;
  return failed && ledger_->egress_denied.load() ? EndClass::egress_denied : end;
}

EndClass Execution::end_of(const ab_outcome& outcome) const {
  constexpr std::int32_t trap_unreachable = 9;  // wasmtime::Trap::UnreachableCodeReached
  if (stop_reason_) return *stop_reason_;
  if (ledger_->too_many_bytes.load()) return EndClass::hostcall_limit;
  switch (outcome.end) {
    case AB_END_OK: return EndClass::ok;
    case AB_END_MEMORY_LIMIT: return EndClass::memory_limit;
    case AB_END_TABLE_LIMIT: return EndClass::table_limit;
    case AB_END_STACK_OVERFLOW: return EndClass::stack_overflow;
    case AB_END_HOSTCALL_BYTES:
    case AB_END_HANDLE_LIMIT:
    case AB_END_RESPONSE_LIMIT: return EndClass::hostcall_limit;
    case AB_END_EXIT: return EndClass::guest_error;
    case AB_END_LINK: return EndClass::link_error;
    case AB_END_POOL_FULL: return EndClass::overload;
    case AB_END_GUEST_TRAP: {
      ab_stats stats{};
      ab_exec_stats(exec_, &stats);
      if (stats.memory_denied != 0) return EndClass::memory_limit;
      // JavaScript engines end by `unreachable` after they said on stderr why.
      bool said_why = outcome.trap_code == trap_unreachable && log_.wrote_stderr();
      return said_why ? EndClass::guest_error : EndClass::trap;
    }
    case AB_END_HOST:
    case AB_END_PANIC:
    case AB_END_INTERNAL: break;
  }
  return EndClass::platform;
}

void Execution::hit(std::string_view limit) {
  shared_.count_limit(limit);
  if (const auto known = domain::parse_limit(limit)) {
    ledger_->limits_hit |= std::uint64_t{1} << static_cast<unsigned>(*known);
  }
}

int Execution::stop_guest(EndClass end, std::string_view limit, std::string message) {
  stop_reason_ = end;
  stop_message_ = std::move(message);
  if (!limit.empty()) hit(limit);
  return 1;
}

void Execution::finish(Outcome outcome) {
  if (exec_ != nullptr) {
    ab_stats stats{};
    ab_exec_stats(exec_, &stats);
    outcome.instantiate_us = stats.instantiate_ns / 1000;
    // The bridge knows the time inside of it only, not what the guest waited for.
    const std::chrono::nanoseconds alive = std::chrono::steady_clock::now() - begun_;
    const auto instantiated = std::chrono::nanoseconds(stats.instantiate_ns);
    if (stats.instantiate_ns > 0 && alive > instantiated) {
      outcome.call_us = static_cast<std::uint64_t>((alive - instantiated).count()) / 1000;
    }
    outcome.peak_memory_bytes = stats.peak_memory_bytes;
    outcome.host_calls = stats.host_calls;
    shared_.peak_memory->observe(static_cast<double>(stats.peak_memory_bytes));
  }
  // What a guest throws is for its author, and so is nobody's place for a secret.
  if (invocation_.secrets) {
    outcome.message = invocation_.secrets->mask(outcome.message);
    outcome.backtrace = invocation_.secrets->mask(outcome.backtrace);
  }
  if (std::string_view limit = limit_of(outcome.end); !limit.empty()) hit(limit);
  outcome.queue_us = static_cast<std::uint64_t>(queued_.count());
  outcome.cpu_us = cpu_ns_ / 1000;
  outcome.host_bytes = ledger_->host_bytes.load();
  outcome.egress_bytes = ledger_->egress_bytes.load();
  log_.finish();
  if (shared_.use.records != nullptr) {
    ledger_->events.conclude([this](std::string kind, std::string target, std::string reason) {
      shared_.use.records->capability({invocation_.who, shared_.use.clock->wall(), std::move(kind),
                                       std::move(target), std::move(reason)});
    });
  }
  for (const domain::Limit limit : log_.hits()) hit(domain::info(limit).name);
  if (const std::uint64_t hits = ledger_->limits_hit.load(); hits != 0) {
    for (const domain::LimitInfo& limit : domain::all_limits()) {
      if ((hits >> static_cast<unsigned>(limit.limit) & 1U) != 0) {
        outcome.limits.push_back(limit.limit);
      }
    }
  }
  outcome_ = std::move(outcome);
}

void Execution::conclude() {
  // The caller gets its answer before the guest's memory is given back.
  if (Done done = std::exchange(done_, nullptr)) done(std::move(outcome_));
  release();
}

void Execution::release() {
  ab_exec* exec = std::exchange(exec_, nullptr);
  if (exec == nullptr) return;
  const SteadyTime begun = std::chrono::steady_clock::now();
  ab_exec_free(exec);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
  shared_.drop_seconds->observe(took.count());
}

}  // namespace alga::engine
