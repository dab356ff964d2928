#include "engine/engine.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <string>
#include <thread>
#include <utility>

#include "base/bytes.h"
#include "engine/bridge.h"
#include "engine/component_cache.h"
#include "engine/component_report.h"
#include "engine/execution.h"

namespace alga::engine {
namespace {

using domain::Limit;

/// WASI handles of one guest; a JavaScript guest needs about ten.
constexpr std::uint32_t most_resource_handles = 1000;
constexpr double mib = 1 << 20;
constexpr std::array<double, 9> memory_buckets{1 * mib,  4 * mib,   10 * mib,  16 * mib,  32 * mib,
                                               64 * mib, 128 * mib, 256 * mib, 1024 * mib};
constexpr std::array<double, 12> drop_buckets{1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4,
                                              1e-3, 2e-3, 5e-3, 1e-2, 0.1,  1};
constexpr std::chrono::seconds inspect_time{60};
constexpr std::uint64_t most_report_bytes = std::uint64_t{16} << 20U;

Execution& execution(void* user) { return *static_cast<Execution*>(user); }

ab_host callbacks() {
  ab_host host{};
  host.abi = AB_ABI_VERSION;
  host.notify = [](void*, void* user) { execution(user).on_notify(); };
  host.call = [](void*, void* user, const ab_host_request* request, ab_call* call) {
    return execution(user).on_call(*request, call);
  };
  host.abandoned = [](void*, void* user, std::uint64_t id) { execution(user).on_abandoned(id); };
  host.log = [](void*, void* user, ab_log_level level, ab_str message) {
    return execution(user).on_log(level, view(message));
  };
  host.stdio = [](void*, void* user, int fd, ab_view bytes) {
    return execution(user).on_stdio(fd, view(bytes));
  };
  return host;
}

std::shared_ptr<Shared> share(Options options, Dependencies use) {
  auto shared = std::make_shared<Shared>();
  const domain::ServerLimits& limits = options.limits;
  shared->limits = {};
  shared->limits.table_elements = static_cast<std::uint32_t>(limits.value(Limit::table_elements));
  shared->limits.resource_handles = most_resource_handles;
  shared->limits.host_call_bytes = limits.value(Limit::host_bytes);
  shared->limits.response_bytes = limits.value(Limit::response_body);
  shared->limits.response_headers = static_cast<std::uint32_t>(limits.value(Limit::header_count));
  shared->limits.response_header_bytes = limits.value(Limit::header_bytes);
  shared->max_host_calls = limits.value(Limit::host_calls);
  shared->max_host_bytes = limits.value(Limit::host_bytes);
  shared->max_fetches = limits.value(Limit::fetch_calls);
  shared->max_fetch_response = limits.value(Limit::fetch_response);
  shared->fetch_header_limits = {.fields = shared->limits.response_headers,
                                 .bytes = limits.value(Limit::header_bytes)};
  shared->max_fetch_time = std::chrono::milliseconds{limits.value(Limit::fetch_time)};
  shared->max_ui_payload = limits.value(Limit::ui_payload);
  shared->options = std::move(options);
  shared->use = std::move(use);
  shared->peak_memory = &shared->use.metrics->histogram(
      "alga_guest_memory_peak_bytes", "Most linear memory that an execution had", memory_buckets);
  shared->drop_seconds = &shared->use.metrics->histogram(
      "alga_engine_drop_seconds", "Giving the memory of a guest back, after its answer",
      drop_buckets);
  return shared;
}

class WasmEngine final : public Engine {
 public:
  WasmEngine(std::shared_ptr<Shared> shared, EngineHandle engine,
             std::unique_ptr<ArtefactStore> store)
      : shared_(std::move(shared)),
        engine_(std::move(engine)),
        running_(shared_->use.metrics->gauge("alga_executions_running", "Executions alive")),
        waiting_(shared_->use.metrics->gauge("alga_executions_waiting",
                                             "Executions that wait to be admitted")),
        components_({.self = shared_->options.self,
                     .max_component_bytes = shared_->options.limits.value(Limit::component_size),
                     .max_components = shared_->options.limits.value(Limit::components_in_memory),
                     .max_image_bytes = shared_->options.memory_cache_bytes,
                     .compile_processes = shared_->options.compile_processes,
                     .compile = compile_bounds(shared_->options),
                     .note_uses_every = shared_->options.note_uses_every},
                    engine_.get(), std::move(store), *shared_->use.metrics, shared_->use.log),
        pool_memories_(pool_gauge("memories")),
        pool_stacks_(pool_gauge("stacks")),
        pool_warm_(shared_->use.metrics->gauge("alga_pool_warm_memories",
                                               "Slots without guest that keep a component mapped")),
        pool_resident_(shared_->use.metrics->gauge(
            "alga_pool_resident_bytes",
            "Memory that slots without guest keep (engine.keep_pages)")),
        scheduler_(
            scheduling(shared_->options), [raw = engine_.get()] { ab_engine_tick(raw); },
            [this](Scheduler::Load load) { note(load); }) {
    shared_->scheduler = &scheduler_;
    components_.preload(std::chrono::steady_clock::now() + shared_->options.preload_time);
  }

  ~WasmEngine() override { scheduler_.stop(std::chrono::steady_clock::now()); }

  void load(const ContentHash& hash, std::filesystem::path wasm, std::shared_ptr<const void> lease,
            const std::string& line, Callback<std::shared_ptr<Component>> done) override {
    components_.load(hash, std::move(wasm), std::move(lease), line, std::move(done));
  }

  std::shared_ptr<Component> find_ready(const ContentHash& hash) override {
    return components_.find_ready(hash);
  }

  Ticket run(std::shared_ptr<Component> component, Invocation invocation, Done done) override {
    auto job = std::make_shared<Execution>(shared_, std::move(component), std::move(invocation),
                                           std::move(done));
    scheduler_.submit(job);
    return job;
  }

  void cancel(const Ticket& ticket) override {
    if (std::shared_ptr<Execution> job = ticket.lock()) {
      scheduler_.end(*job, domain::EndClass::cancelled);
    }
  }

  [[nodiscard]] Load current_load() const override {
    Scheduler::Load load = scheduler_.load();
    return {load.running, load.waiting};
  }

  void refuse_waiting() override { scheduler_.refuse_waiting(); }

  void stop(SteadyTime deadline) override { scheduler_.stop(deadline); }

  Result<std::uint64_t> prepare(const ContentHash& bundle,
                                const std::string& component_file) override {
    auto done = components_.prepare(bundle, component_file);
    if (done) return done;
    const Error& error = done.error();
    if (error.kind == Kind::unavailable) {
      return fail(
          Error{Kind::unavailable, "compile.unavailable", error.message, error.retry_after_s});
    }
    if (error.code == "engine.compile_too_expensive") {
      return fail(Kind::unprocessable, "compile.too_expensive", error.message);
    }
    return fail(Kind::unprocessable, "compile.refused", error.message);
  }

  Result<bool> is_prepared(const ContentHash& bundle) override {
    return components_.is_offered(bundle);
  }

  [[nodiscard]] std::string engine() const override { return components_.engine(); }

  Status discard(const ContentHash& bundle, const std::string& engine) override {
    return components_.withdraw(bundle, engine);
  }

  /// inspect() ends by it, too, with `component.unavailable`.
  void abort() noexcept override { components_.abort(); }

  [[nodiscard]] Result<domain::ComponentReport> inspect(const std::string& file) override {
    auto report = inspect_component(
        shared_->options.self, file, shared_->options.limits.value(Limit::component_size),
        patient(inspect_time), most_report_bytes, components_.aborted());
    if (!report) domain::count_limit_hit(*shared_->use.metrics, report.error().code);
    return report;
  }

 private:
  Gauge& pool_gauge(std::string_view kind) {
    return shared_->use.metrics->gauge("alga_pool_slots_in_use",
                                       "Slots of the pool in use, by kind", {{"kind", kind}});
  }

  void note(Scheduler::Load load) {
    running_.set(load.running);
    waiting_.set(load.waiting);
    ab_pool_stats pool{};
    ab_engine_pool_stats(engine_.get(), &pool);
    pool_memories_.set(static_cast<double>(pool.live_memories));
    pool_stacks_.set(static_cast<double>(pool.live_stacks));
    pool_warm_.set(static_cast<double>(pool.unused_warm_memories));
    pool_resident_.set(static_cast<double>(pool.unused_memory_bytes_resident));
  }

  static CompileBounds compile_bounds(const Options& options) {
    ChildTime time = patient(options.compile_time);
    if (options.compile_wait.count() != 0) time.wall = options.compile_wait;
    return {.time = time, .memory = options.compile_memory};
  }

  static Scheduler::Options scheduling(const Options& options) {
    Scheduler::Options out;
    out.threads =
        options.threads != 0 ? options.threads : std::max(1U, std::thread::hardware_concurrency());
    const auto or_else = [](std::uint32_t asked, std::uint32_t otherwise) {
      return asked != 0 ? asked : std::max(1U, otherwise);
    };
    const auto most_of = [](std::uint32_t all) { return all - all / 4; };
    Admission::Bounds& places = out.places;
    places.running = options.max_executions;
    places.running_per_tenant = or_else(options.max_executions_per_tenant, places.running / 4);
    places.running_per_install =
        or_else(options.max_executions_per_install, most_of(places.running_per_tenant));
    const domain::Lines lines = domain::lines_of(options.max_executions);
    places.waiting = lines.process;
    places.waiting_per_tenant = lines.tenant;
    places.waiting_per_install = lines.install;
    out.slice = options.slice;
    out.queue_wait = std::chrono::milliseconds{options.limits.value(Limit::queue_wait)};
    return out;
  }

  std::shared_ptr<Shared> shared_;
  EngineHandle engine_;
  Gauge& running_;
  Gauge& waiting_;
  ComponentCache components_;
  Gauge& pool_memories_;
  Gauge& pool_stacks_;
  Gauge& pool_warm_;
  Gauge& pool_resident_;
  Scheduler scheduler_;
};

}  // namespace

Result<std::unique_ptr<Engine>> Engine::create(Options options, Dependencies dependencies) {
  ab_engine_config config = artefact_settings();
  config.pooling = 1;
  // A little above the admission limit: an execution that has answered still holds its slot for
  // the moment in which it is torn down.
  config.max_executions = options.max_executions + 16;
  config.max_memory_bytes = options.limits.maximum(Limit::memory);
  config.max_table_elements =
      static_cast<std::uint32_t>(options.limits.value(Limit::table_elements));

  if (keeps_pages(options.keep_pages, config.max_executions, memory_of_process())) {
    config.memory_keep_resident = kept_bytes_per_slot;
    // Nothing to give back, so nothing to batch: the next guest gets the slot whose pages the
    // processor still has in its caches (docs/adr/0013).
    config.decommit_batch = 1;
    dependencies.log.info("slots keep their pages",
                          {{"slots", config.max_executions}, {"bytes_each", kept_bytes_per_slot}});
  }

  ab_host host = callbacks();
  ab_engine* raw = nullptr;
  ab_error* error = nullptr;
  ab_status status = ab_engine_new(&config, &host, &raw, &error);
  if (status != AB_OK) return bridge_error(status, error);
  EngineHandle engine{raw};

  std::array<std::uint8_t, 32> compat{};
  ab_engine_compat_hash(engine.get(), compat.data());
  std::shared_ptr<SharedArtefacts> shared_artefacts;
  if (options.shared_artefacts != nullptr) {
    shared_artefacts = std::make_shared<SharedArtefacts>(
        SharedArtefacts::Options{.store = options.shared_artefacts,
                                 .publish = options.publish_artefacts},
        *dependencies.metrics, dependencies.log);
  }
  TRY(std::unique_ptr<ArtefactStore> store,
      ArtefactStore::open({.directory = options.cache,
                           .max_bytes = options.cache_bytes,
                           .max_artefacts = options.limits.value(Limit::components_on_disk),
                           .compat = hex_encode(compat),
                           .signer = options.compile_key,
                           .trusted = options.trusted_keys,
                           .shared = std::move(shared_artefacts)},
                          *dependencies.random, *dependencies.metrics, dependencies.log));
  std::shared_ptr<Shared> shared = share(std::move(options), std::move(dependencies));
  return std::make_unique<WasmEngine>(std::move(shared), std::move(engine), std::move(store));
}

}  // namespace alga::engine
