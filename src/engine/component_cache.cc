#include "engine/component_cache.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <ranges>
#include <utility>

#include "domain/limits.h"

namespace alga::engine {
namespace {

/// Made by another engine, or more than a slot of this one holds.
constexpr std::string_view incompatible = "engine.artefact_incompatible";
/// How long a bundle that cannot run is not compiled again, and how many of them are remembered.
constexpr std::chrono::minutes failure_time{1};
constexpr std::size_t most_failures = 1000;
/// How many bundles are made ready or wait for it, in all and of one line that has a name, and when
/// to come back.
constexpr std::size_t most_flights = 1024;
constexpr std::size_t most_flights_of_line = 64;
constexpr std::uint32_t retry_after_no_room_s = 2;
/// When to come back to a process that may not compile.
constexpr std::uint32_t retry_after_uncompiled_s = 5;
constexpr std::array<double, 8> compile_buckets{0.1, 0.5, 1, 2, 5, 10, 30, 120};

}  // namespace

Worker::Worker(const char* name, std::uint32_t threads) {
  const auto work = [this, name] {
    pthread_setname_np(pthread_self(), name);
    std::unique_lock lock(mutex_);
    while (true) {
      wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      if (stopping_) return;
      auto job = queue_.pop();
      lock.unlock();
      job->item();
      job.reset();
      lock.lock();
    }
  };
  for (std::uint32_t i = 0; i < std::max(1U, threads); ++i) threads_.emplace_back(work);
}

Worker::~Worker() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

std::shared_ptr<void> CompileTurns::take(const ContentHash& bundle, const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  const auto is_free = [&] { return running_.size() < most_ && !running_.contains(bundle); };
  if (!free_.wait(lock, stop, is_free) || stop.stop_requested()) return nullptr;
  running_.insert(bundle);
  return {this, [bundle](CompileTurns* turns) {
            const std::scoped_lock again(turns->mutex_);
            turns->running_.erase(bundle);
            turns->free_.notify_all();
          }};
}

void Worker::post(const std::string& line, std::move_only_function<void()> work) {
  {
    std::lock_guard lock(mutex_);
    queue_.push(line, std::move(work));
  }
  wake_.notify_one();
}

ComponentCache::ComponentCache(Options options, ab_engine* engine,
                               std::unique_ptr<ArtefactStore> store, Metrics& metrics, Logger log)
    : options_(std::move(options)),
      engine_(engine),
      store_(std::move(store)),
      hits_(metrics.counter("alga_component_loads_total", "Components taken, by where they were",
                            {{"from", "memory"}})),
      disk_hits_(metrics.counter("alga_component_loads_total",
                                 "Components taken, by where they were", {{"from", "disk"}})),
      compiles_(metrics.counter("alga_component_loads_total",
                                "Components taken, by where they were", {{"from", "compile"}})),
      failures_(metrics.counter("alga_component_load_failures_total",
                                "Components that could not be made ready")),
      components_(metrics.gauge("alga_components_in_memory", "Components linked and mapped")),
      compile_seconds_(metrics.histogram("alga_compile_seconds", "Time to compile a component",
                                         compile_buckets)),
      metrics_(metrics),
      log_(std::move(log)),
      turns_(std::max(1U, options_.compile_processes)),
      compiler_("alga-compile", options_.compile_processes),
      loader_("alga-load") {}

ComponentCache::~ComponentCache() {
  abort();
  std::vector<Loaded> waiting;
  {
    std::lock_guard lock(mutex_);
    for (auto& [hash, flight] : flights_) {
      for (Loaded& done : flight.waiting) waiting.push_back(std::move(done));
      flight.waiting.clear();
    }
  }
  for (Loaded& done : waiting) {
    done(fail(Kind::unavailable, "engine.unavailable", "the engine is stopping"));
  }
  note_uses();  // the next start makes ready what was used last
}

std::shared_ptr<Component> ComponentCache::find_ready(const ContentHash& bundle) {
  const SteadyTime now = std::chrono::steady_clock::now();
  std::lock_guard lock(mutex_);
  auto found = by_hash_.find(bundle);
  if (found == by_hash_.end()) return nullptr;
  order_.splice(order_.begin(), order_, found->second);
  hits_.add();
  Entry& entry = *found->second;
  entry.used = now;
  if (!noting_ && now - entry.noted >= options_.note_uses_every) {
    noting_ = true;
    loader_.post({}, [this] { note_uses(); });
  }
  return entry.component;
}

void ComponentCache::note_uses() {
  std::vector<std::pair<ContentHash, SteadyTime>> uses;
  {
    const std::scoped_lock lock(mutex_);
    noting_ = false;
    for (Entry& entry : order_) {
      if (entry.used > entry.noted) uses.emplace_back(entry.bundle, entry.used);
      entry.noted = entry.used;
    }
  }
  for (const auto& [bundle, used] : uses) store_->note_use(bundle, used);
}

void ComponentCache::load(const ContentHash& bundle, std::filesystem::path wasm,
                          std::shared_ptr<const void> lease, const std::string& line, Loaded done) {
  if (std::shared_ptr<Component> ready = find_ready(bundle)) return done(std::move(ready));
  std::shared_ptr<Component> ready;
  {
    std::unique_lock lock(mutex_);
    if (const Error* failed = find_failure(bundle)) {
      Error error = *failed;
      lock.unlock();
      return done(fail(std::move(error)));
    }
    if (auto found = by_hash_.find(bundle); found != by_hash_.end()) {
      ready = found->second->component;  // became ready a moment ago
    } else {
      if (auto flight = flights_.find(bundle); flight != flights_.end()) {
        flight->second.waiting.push_back(std::move(done));
        return;
      }
      if (!has_room(line)) {
        lock.unlock();
        return done(fail({Kind::unavailable, "engine.overload",
                          "too many components are being made ready", retry_after_no_room_s}));
      }
      Flight& flight = flights_[bundle];
      flight.wasm = std::move(wasm);
      flight.lease = std::move(lease);
      flight.line = line;
      flight.waiting.push_back(std::move(done));
      loader_.post(line, [this, bundle] { load_from_disk(bundle); });
      return;
    }
  }
  done(std::move(ready));
}

void ComponentCache::load_from_disk(const ContentHash& bundle) {
  auto artefact = store_->find(bundle);
  if (!artefact) return finish(bundle, std::unexpected(std::move(artefact).error()));
  const std::optional<File> file = *std::move(artefact);
  if (file) {
    auto linked = link(*file);
    if (linked) {
      disk_hits_.add();
      return finish(bundle, std::move(linked));
    }
    if (linked.error().code != incompatible) {
      return finish(bundle, std::move(linked));
    }
  }
  std::string line;
  {
    const std::scoped_lock lock(mutex_);
    line = flights_.at(bundle).line;
  }
  // One that is there and does not fit was made by another engine: it is replaced.
  compiler_.post(line, [this, bundle, there = file.has_value()] {
    std::filesystem::path wasm;
    {
      std::lock_guard lock(mutex_);
      wasm = flights_.at(bundle).wasm;
    }
    Status compiled = compile(bundle, wasm, there ? Anew::yes : Anew::no);
    if (!compiled) return finish(bundle, std::unexpected(std::move(compiled).error()));
    auto made = store_->find(bundle);
    if (!made) return finish(bundle, std::unexpected(std::move(made).error()));
    if (!*made) {
      return finish(bundle, fail(Kind::unavailable, "engine.unavailable",
                                 "the artefact was evicted before it could be used"));
    }
    finish(bundle, link(**made));
  });
}

Result<std::shared_ptr<Component>> ComponentCache::link(const File& artefact) {
  ab_component* raw = nullptr;
  ab_error* error = nullptr;
  ab_status status = ab_component_load_fd(engine_, artefact.fd(), &raw, &error);
  if (status != AB_OK) return bridge_error(status, error);
  return std::make_shared<Component>(raw);
}

void ComponentCache::finish(const ContentHash& bundle, Result<std::shared_ptr<Component>> outcome) {
  Flight flight;
  {
    std::lock_guard lock(mutex_);
    flight = std::move(flights_.extract(bundle).mapped());
    if (outcome) {
      keep(bundle, *outcome, std::chrono::steady_clock::now());
    } else {
      remember(bundle, outcome.error());
    }
  }
  if (!outcome) {
    failures_.add();
    log_.warn("a component could not be made ready", {{"bundle", bundle.hex()},
                                                      {"code", outcome.error().code},
                                                      {"reason", outcome.error().message}});
  }
  for (Loaded& done : flight.waiting) done(outcome);
}

bool ComponentCache::has_room(const std::string& line) const {
  if (flights_.size() >= most_flights) return false;
  if (line.empty()) return true;
  const auto of_line = std::ranges::count(
      flights_, line, [](const auto& flight) -> const std::string& { return flight.second.line; });
  return static_cast<std::size_t>(of_line) < most_flights_of_line;
}

const Error* ComponentCache::find_failure(const ContentHash& bundle) {
  const auto found = failed_.find(bundle);
  if (found == failed_.end()) return nullptr;
  if (std::chrono::steady_clock::now() < found->second.until) return &found->second.error;
  failed_.erase(found);
  return nullptr;
}

void ComponentCache::remember(const ContentHash& bundle, const Error& error) {
  // The bytes behind a hash do not change; what may is whether this process can do its work.
  if (error.kind != Kind::invalid && error.kind != Kind::too_large && error.code != incompatible) {
    return;
  }
  const SteadyTime now = std::chrono::steady_clock::now();
  std::erase_if(failed_, [now](const auto& entry) { return entry.second.until <= now; });
  if (failed_.size() < most_failures) failed_[bundle] = {error, now + failure_time};
}

void ComponentCache::keep(const ContentHash& bundle, std::shared_ptr<Component> component,
                          SteadyTime used) {
  image_bytes_ += component->image_bytes();
  order_.push_front({bundle, std::move(component), used, used});
  by_hash_[bundle] = order_.begin();
  while (order_.size() > 1 &&
         (order_.size() > options_.max_components || image_bytes_ > options_.max_image_bytes)) {
    if (order_.size() > options_.max_components) note_full();
    image_bytes_ -= order_.back().component->image_bytes();
    by_hash_.erase(order_.back().bundle);
    order_.pop_back();
  }
  components_.set(static_cast<double>(order_.size()));
}

void ComponentCache::note_full() {
  constexpr auto limit = domain::Limit::components_in_memory;
  domain::count_limit_hit(metrics_, limit);
  if (std::exchange(said_full_, true)) return;
  log_.info("components leave memory to make room for others",
            {{"code", domain::info(limit).code}, {"most", options_.max_components}});
}

void ComponentCache::preload(SteadyTime deadline) {
  std::vector<std::pair<ContentHash, std::shared_ptr<Component>>> ready;
  std::uint64_t bytes = 0;
  for (const ContentHash& bundle : store_->recent()) {
    const bool full = ready.size() >= options_.max_components || bytes > options_.max_image_bytes;
    if (full || std::chrono::steady_clock::now() >= deadline) break;
    // The start waits for no bundle store.
    auto artefact = store_->find_here(bundle);
    if (!artefact) continue;
    const std::optional<File> file = *std::move(artefact);
    if (!file) continue;
    auto linked = link(*file);
    if (!linked) continue;
    bytes += (*linked)->image_bytes();
    ready.emplace_back(bundle, std::move(*linked));
  }
  const std::scoped_lock lock(mutex_);
  for (auto& [bundle, component] : std::views::reverse(ready)) {
    keep(bundle, std::move(component), {});
  }
}

Result<std::uint64_t> ComponentCache::prepare(const ContentHash& bundle,
                                              const std::filesystem::path& wasm) {
  TRY(std::optional<File> present, store_->find(bundle));
  if (present) {
    auto linked = link(*present);
    if (linked) return offer(bundle);
    if (linked.error().code != incompatible) return fail(std::move(linked).error());
  }
  TRY_VOID(compile(bundle, wasm, present ? Anew::yes : Anew::no));
  // What the engine cannot load, no runner can: better that its publisher hears of it.
  TRY(std::optional<File> made, store_->find(bundle));
  if (!made) return 0U;
  TRY(std::shared_ptr<Component> component, link(*made));
  return offer(bundle);
}

Result<std::uint64_t> ComponentCache::offer(const ContentHash& bundle) {
  auto shared = store_->offer(bundle);
  if (shared) return shared;
  // Whatever it is, it is not the component's fault.
  return fail(Error{Kind::unavailable, "engine.unavailable",
                    "compiled code could not be shared: " + std::string(shared.error().code),
                    retry_after_interrupted_s});
}

Status ComponentCache::compile(const ContentHash& bundle, const std::filesystem::path& wasm,
                               Anew anew) {
  const std::shared_ptr<void> turn = turns_.take(bundle, stop_.get_token());
  if (turn == nullptr) {
    return fail(Kind::unavailable, "engine.unavailable", "the server is stopping");
  }
  if (anew == Anew::no) {
    TRY(std::optional<File> present, store_->find(bundle));
    if (present) return {};
  }
  if (!store_->can_sign()) {
    // Who may is at it, after an upgrade or an exchange of its key.
    return fail(Error{Kind::unavailable, "engine.unavailable",
                      "no compiled artefact is there and this process may not compile",
                      retry_after_uncompiled_s});
  }
  File input{::open(wasm.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW)};
  struct stat facts{};
  if (!input.is_open() && errno == ENOENT) {
    return fail(Kind::unavailable, "engine.component_gone", "the bundle's files are not there");
  }
  if (!input.is_open() || ::fstat(input.fd(), &facts) != 0) {
    return fail(Kind::unavailable, "engine.unavailable", "the bundle's component cannot be read");
  }
  if (static_cast<std::uint64_t>(facts.st_size) > options_.max_component_bytes) {
    domain::count_limit_hit(metrics_, domain::Limit::component_size);
    return fail(Kind::too_large, "component.too_large",
                "the component has " + std::to_string(facts.st_size) + " bytes; at most " +
                    std::to_string(options_.max_component_bytes) + " are allowed");
  }
  TRY(ArtefactStore::Draft draft, store_->draft());
  auto began = std::chrono::steady_clock::now();
  if (Status made =
          compile_component(options_.self, input, draft.file, options_.compile, stop_.get_token());
      !made) {
    ArtefactStore::discard(draft);
    return made;
  }
  std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  compiles_.add();
  compile_seconds_.observe(took.count());
  log_.info("compiled a component", {{"bundle", bundle.hex()}, {"seconds", took.count()}});
  return store_->keep(bundle, std::move(draft));
}

}  // namespace alga::engine
