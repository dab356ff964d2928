#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "engine/bridge.h"
#include "engine/capability_events.h"
#include "engine/engine.h"
#include "engine/guest_log.h"
#include "engine/scheduler.h"

namespace alga::engine {

/// What all executions of an engine share.
struct Shared {
  Options options;
  Dependencies use;
  ab_limits limits;  ///< those that do not differ between executions
  Scheduler* scheduler = nullptr;
  Histogram* drop_seconds = nullptr;
  Histogram* peak_memory = nullptr;
  std::uint64_t max_host_calls = 0, max_host_bytes = 0, max_fetches = 0;
  std::uint64_t max_fetch_response = 0;
  domain::HeaderLimits fetch_header_limits;
  std::chrono::milliseconds max_fetch_time{};
  std::uint64_t max_ui_payload = 0;
  void count_denial(std::string_view reason) const;
  void count_limit(std::string_view limit) const;
};

/// What an answer that is still on its way may touch after its execution has ended.
struct Ledger {
  std::atomic<std::uint64_t> host_bytes{0}, egress_bytes{0};
  std::atomic<bool> too_many_bytes{false};
  /// The last thing that the guest heard of its host, log lines apart, was that an address is
  /// denied.
  std::atomic<bool> egress_denied{false};
  std::atomic<std::uint64_t> limits_hit{0};  ///< a bit for each domain::Limit
  std::atomic<std::uint32_t> denials{0};
  std::atomic<std::uint32_t> refused_writes{0};  ///< those that explain_refusal() was told
  CapabilityEvents events;
};
static_assert(domain::limit_count <= 64);

/// One call of a handler: the guest, what it may do, what it did. Driven by the scheduler; the
/// bridge calls on_call(), on_log() and on_stdio() from inside step().
class Execution final : public Job {
 public:
  Execution(std::shared_ptr<const Shared> shared, std::shared_ptr<Component> component,
            Invocation invocation, Done done);
  ~Execution() override;

  [[nodiscard]] const std::string& tenant() const override { return invocation_.tenant.str(); }
  /// Of a request that names none: the extension.
  [[nodiscard]] const std::string& install() const override {
    return invocation_.who.install.empty() ? invocation_.who.extension : invocation_.who.install;
  }
  bool start(std::chrono::microseconds queued) override;
  Step step() override;
  void end(domain::EndClass reason) override;
  void conclude() override;
  void refuse(Refusal why) override;
  [[nodiscard]] SteadyTime deadline() const override { return deadline_; }

  // From the bridge. Non-zero ends the execution.
  int on_call(const ab_host_request& request, ab_call* call) noexcept;
  int on_log(ab_log_level level, std::string_view message) noexcept;
  int on_stdio(int fd, std::string_view bytes) noexcept;
  void on_abandoned(std::uint64_t call_id) noexcept;
  void on_notify() noexcept { shared_.scheduler->wake(*this); }

 private:
  void answer(ab_call* call, const ab_host_request& request);
  void get_context(ab_call* call);
  void get_config(ab_call* call, std::string_view key);
  void get_config_entries(ab_call* call);
  void get_secret(ab_call* call, std::string_view key);
  void get_secret_names(ab_call* call);
  void get_user(ab_call* call);
  void fetch(ab_call* call, const ab_http_request& request);
  void call_storage(ab_call* call, const ab_host_request& asked);
  void call_route(ab_call* call, const ab_host_request& asked);
  /// What leaves the machine and can be cancelled.
  struct Pending {
    ab_op op;
    std::uint64_t id;  ///< with its port
  };
  void remember(std::uint64_t call_id, Pending pending);

  /// Charges bytes for the guest; when that was too much the call is aborted and it says false.
  [[nodiscard]] bool pay(ab_call* call, std::uint64_t bytes);
  [[nodiscard]] bool allowed(domain::Capability capability, std::string_view target);
  void note_denial(std::string_view kind, std::string_view target, std::string_view reason);
  /// For the audit trail, which has the first of what is repeated and its number.
  void record_event(const CapabilityEvents::Event& event);
  /// The guest hears only that its value is invalid or its quota used up: its author finds the
  /// reason, a schema or the name of a limit, in the log of the execution. From any thread.
  void explain_refusal(const std::string& place, const Error& error);
  /// Whether this call of a capability gets a line in the log.
  [[nodiscard]] bool drawn() const;
  void trace_call(std::string_view operation, std::string_view target) const;
  /// Counts a limit that stopped or refused something, and tells it with the outcome.
  void hit(std::string_view limit);
  /// Remembers why and returns the value that makes the bridge end the guest.
  int stop_guest(domain::EndClass end, std::string_view limit, std::string message);
  [[nodiscard]] domain::EndClass classify(const ab_outcome& outcome) const;
  /// What the bridge saw, before our own view of why.
  [[nodiscard]] domain::EndClass end_of(const ab_outcome& outcome) const;
  /// The outcome is complete; conclude() tells it.
  void finish(Outcome outcome);
  void release();

  const std::shared_ptr<const Shared> keep_;
  const Shared& shared_;
  std::shared_ptr<Component> component_;
  Invocation invocation_;
  Done done_;
  Outcome outcome_;
  GuestLog log_;
  std::shared_ptr<Ledger> ledger_ = std::make_shared<Ledger>();
  ab_exec* exec_ = nullptr;
  SteadyTime begun_{}, deadline_{};
  std::chrono::microseconds queued_{};
  std::uint64_t cpu_ns_ = 0;
  std::uint64_t calls_ = 0, fetches_ = 0;
  bool log_denied_ = false;
  std::optional<domain::EndClass> stop_reason_;
  std::string stop_message_;
  std::mutex pending_mutex_;
  std::map<std::uint64_t, Pending> pending_;  ///< by call id
};

}  // namespace alga::engine
