#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/callback.h"
#include "base/clock.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/random.h"
#include "crypto/sign.h"
#include "domain/capability.h"
#include "domain/egress_policy.h"
#include "domain/end_class.h"
#include "domain/execute.h"
#include "domain/limits.h"
#include "domain/ports/artefact_compiler.h"
#include "domain/ports/bundle_store.h"
#include "domain/ports/component_inspector.h"
#include "domain/ports/egress.h"
#include "domain/ports/records.h"
#include "domain/ports/storage.h"
#include "domain/secret_map.h"
#include "engine/kept_pages.h"

// Guest execution: everything between a bundle on disk and the answer of its handler.

namespace alga::engine {

/// A component that is compiled, mapped and linked. Shared by all executions of it; immutable.
class Component;

/// Calls a route of the host application for `ui-proxy.call-route`. Answers the body of a 2xx.
/// Errors: `ui_proxy.route_not_found`, `ui_proxy.denied`, `ui_proxy.bad_request`,
/// `ui_proxy.too_large`, `ui_proxy.unavailable`. `done` runs on any thread, also before call()
/// returns.
class UiProxy {
 public:
  struct Call {
    domain::ExecutionIdentity who;
    std::string route;
    std::optional<std::string> payload;
    std::optional<domain::UserIdentity> user;
    std::shared_ptr<const domain::SecretMap> secrets;  ///< for the secret `api_key`; may be null
    SteadyTime deadline;
    std::uint64_t max_response_bytes = 0;
    std::uint32_t depth = 1;  ///< sent as `x-alga-depth`
  };
  virtual ~UiProxy() = default;
  /// The number is for cancel().
  virtual std::uint64_t call(Call call, Callback<std::string> done) = 0;
  /// `done` is called soon, unless it has been. Unknown numbers are ignored.
  virtual void cancel(std::uint64_t id) = 0;
};

/// One call of a handler, with everything that it may use. The authority is this object: what is
/// not in it cannot be reached.
struct Invocation {
  domain::ExecutionIdentity who;
  TenantId tenant;
  std::optional<InstallId> install;
  /// What `context.get-context` says.
  domain::ExecuteRequest request;
  domain::CapabilitySet capabilities;
  std::shared_ptr<const domain::EgressPolicy> egress;  ///< null: nothing is allowed
  std::shared_ptr<const domain::SecretMap> secrets;    ///< null: none
  domain::ExecutionLimits limits;
};

/// How it ended. `response` is set when `end` is ok. `message` and `backtrace` are for the author
/// and the operator, never for the public.
struct Outcome {
  domain::EndClass end = domain::EndClass::platform;
  domain::HttpResponse response;
  std::string message;
  std::string backtrace;
  std::uint32_t retry_after_s = 0;  ///< with `overload`
  bool tenant_busy = false;         ///< with `overload`: its or its install's own share was used up
  bool stopping = false;            ///< with `overload`: nobody waits for a place any more
  std::vector<domain::Limit> limits;  ///< that stopped or cut something, each once
  /// `call_us`: by the clock, with everything that the handler waited for; `cpu_us` without.
  std::uint64_t queue_us = 0, instantiate_us = 0, call_us = 0, cpu_us = 0;
  std::uint64_t peak_memory_bytes = 0, host_bytes = 0, egress_bytes = 0;
  std::uint32_t host_calls = 0;
};
using Done = std::move_only_function<void(Outcome)>;

/// A running or waiting execution, for cancelling it. Copyable; outliving the execution is fine.
class Execution;
using Ticket = std::weak_ptr<Execution>;

struct Options {
  domain::ServerLimits limits;
  /// Threads that run guests; 0: one for each processor.
  std::uint32_t threads = 0;
  /// Executions alive at once: in the process, of one tenant (0: a quarter, at least one) and of
  /// one install (0: three quarters of the tenant's, rounded up).
  std::uint32_t max_executions = 256;
  std::uint32_t max_executions_per_tenant = 0;
  std::uint32_t max_executions_per_install = 0;
  /// Slots reset their memory by copying, up to `kept_bytes_per_slot`, and keep it, in place of
  /// giving it back to the kernel page by page (docs/adr/0012).
  KeepPages keep_pages = KeepPages::automatic;
  /// Private folder for compiled artefacts; made with mode 0700.
  std::filesystem::path cache;
  std::uint64_t cache_bytes = 20ULL << 30U;
  /// Code and data of components that are kept mapped and linked.
  std::uint64_t memory_cache_bytes = 2ULL << 30U;
  /// How long create() may verify and map what was used last before a restart.
  std::chrono::milliseconds preload_time{2000};
  /// By how much the disk's order of last use may lag behind the memory's while the engine is open.
  std::chrono::milliseconds note_uses_every{std::chrono::minutes{1}};
  /// How long a guest computes before others get their turn.
  std::chrono::milliseconds slice{1};
  /// Compile processes at once, the processor time of one, how long it is waited for (0: four times
  /// as long), and its address space.
  std::uint32_t compile_processes = 1;
  std::chrono::milliseconds compile_time{120'000}, compile_wait{0};
  std::uint64_t compile_memory = 2ULL << 30U;
  /// This program, for the compile process (`<self> compile-worker`).
  std::filesystem::path self = "/proc/self/exe";
  /// Signs artefacts when this process may compile; null: it only loads what others signed.
  std::shared_ptr<const crypto::SigningKey> compile_key;
  /// Where compiled artefacts are shared with other processes; null: nowhere. Outlives the engine.
  domain::BundleStore* shared_artefacts = nullptr;
  /// Whether this process puts there what it compiles.
  bool publish_artefacts = false;
  /// Keys whose artefacts are trusted.
  std::vector<crypto::PublicKey> trusted_keys;
  /// Fraction of capability calls that are logged: 0 to 1.
  double capability_log_sampling = 1.0;
};

/// All of it outlives the engine.
struct Dependencies {
  domain::Egress* egress = nullptr;             ///< null: http.fetch is refused
  domain::ExtensionStorage* storage = nullptr;  ///< null: storage answers `internal`
  UiProxy* ui_proxy = nullptr;                  ///< null: every route is unknown
  domain::RecordSink* records = nullptr;
  const Clock* clock = nullptr;
  Random* random = nullptr;
  Metrics* metrics = nullptr;
  Logger log;
};

/// The engine of a process: at most one. Thread-safe. Never blocks the caller unless it says so.
class Engine : public domain::ArtefactCompiler, public domain::ComponentInspector {
 public:
  /// Errors: `engine.unavailable`, `engine.cache_io`. Blocks.
  [[nodiscard]] static Result<std::unique_ptr<Engine>> create(Options options,
                                                              Dependencies dependencies);

  /// Gives the component of a bundle: from memory, else from the artefact cache, else compiled in
  /// the background (one compile for all who wait). `wasm` and whatever keeps it (`lease`) must
  /// stay until `done`. `done` may be called before load() returns. Whoever asks first for what is
  /// not in memory waits in the line of that name, such as a tenant's; lines take turns. Errors:
  /// `engine.bad_component`, `engine.link_error`, `component.too_large`, `engine.unavailable`,
  /// `engine.overload` when that line, or all of them, are full (the line without a name only
  /// then).
  virtual void load(const ContentHash& hash, std::filesystem::path wasm,
                    std::shared_ptr<const void> lease, const std::string& line,
                    Callback<std::shared_ptr<Component>> done) = 0;

  /// The component when it is in memory, else null; load() is for the rest.
  [[nodiscard]] virtual std::shared_ptr<Component> find_ready(const ContentHash&) {
    return nullptr;
  }

  /// Queues one execution under the tenant's share. `done` is called exactly once, on an engine
  /// thread or on the caller's when it is refused at once.
  virtual Ticket run(std::shared_ptr<Component> component, Invocation invocation, Done done) = 0;
  /// Ends it with class `cancelled` unless it has ended.
  virtual void cancel(const Ticket& ticket) = 0;

  /// Executions alive and waiting now.
  struct Load {
    std::uint32_t running = 0, waiting = 0;
  };
  [[nodiscard]] virtual Load current_load() const = 0;

  /// Refuses at once, as `stopping`, whoever waits for a place, and later whoever would have to.
  /// What finds a place free still runs: requests that came before a shutdown are not lost.
  virtual void refuse_waiting() = 0;
  /// Refuses new work, gives what runs until `deadline`, cancels the rest. Blocks.
  virtual void stop(SteadyTime deadline) = 0;

  ~Engine() override = default;
};

/// What `<self> compile-worker` does: confines itself, reads the component from fd 0 (a file),
/// writes the artefact to fd 1. Returns the exit status; the reason of a failure goes to fd 2 as
/// one line `code: message`. To be called first thing in main, before any thread exists.
[[nodiscard]] int compile_worker_main();
/// The same for `<self> inspect-worker`: JSON of ab_describe to fd 1.
[[nodiscard]] int inspect_worker_main();

}  // namespace alga::engine
