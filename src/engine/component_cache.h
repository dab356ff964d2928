#pragma once

#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <set>
#include <stop_token>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/callback.h"
#include "base/clock.h"
#include "base/fair_queue.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/metrics.h"
#include "engine/artefact_store.h"
#include "engine/bridge.h"
#include "engine/compile_child.h"

namespace alga::engine {

/// One thread or a few that do one thing after another, for work that blocks.
class Worker {
 public:
  explicit Worker(const char* name, std::uint32_t threads = 1);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  /// In the line of that name; lines take turns.
  void post(const std::string& line, std::move_only_function<void()> work);

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  FairQueue<std::move_only_function<void()>> queue_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

/// Lets a bounded number of compiles run at once, and never two of one bundle.
class CompileTurns {
 public:
  explicit CompileTurns(std::size_t most) : most_(most) {}
  /// Blocks until it is this bundle's turn; the turn ends with the returned object. Null: `stop`
  /// was requested before.
  [[nodiscard]] std::shared_ptr<void> take(const ContentHash& bundle, const std::stop_token& stop);

 private:
  const std::size_t most_;
  std::mutex mutex_;
  std::condition_variable_any free_;
  std::set<ContentHash> running_;
};

/// Components ready to run: linked and mapped in memory (bounded by count and bytes, least recently
/// used first out), else artefacts on disk, else compiled once for all who ask. Thread-safe.
class ComponentCache {
 public:
  struct Options {
    std::filesystem::path self;  ///< the program of the compile process
    std::uint64_t max_component_bytes = 0;
    std::size_t max_components = 0;
    std::uint64_t max_image_bytes = 0;
    std::uint32_t compile_processes = 1;
    CompileBounds compile;  ///< of one component
    /// By how much the store's order of last use may lag behind ours.
    std::chrono::milliseconds note_uses_every{std::chrono::minutes{1}};
  };
  ComponentCache(Options options, ab_engine* engine, std::unique_ptr<ArtefactStore> store,
                 Metrics& metrics, Logger log);
  /// abort()s and waits for the load that is under way; callbacks of the rest get
  /// `engine.unavailable`.
  ~ComponentCache();

  /// Compiles that are under way, and later ones, end at once with `engine.unavailable`. Does not
  /// wait for them.
  void abort() noexcept { stop_.request_stop(); }
  [[nodiscard]] std::stop_token aborted() const { return stop_.get_token(); }

  using Loaded = Callback<std::shared_ptr<Component>>;
  /// See Engine::load(). A bundle that turned out not to run is refused at once for a minute.
  void load(const ContentHash& bundle, std::filesystem::path wasm,
            std::shared_ptr<const void> lease, const std::string& line, Loaded done);

  /// Null unless it is in memory. Touches no disk: that it was used is noted there by another
  /// thread, now and then.
  [[nodiscard]] std::shared_ptr<Component> find_ready(const ContentHash& bundle);

  /// Verifies and links what was used last and is on the disk, as far as it fits and until
  /// `deadline`. Blocks.
  void preload(SteadyTime deadline);

  /// See ArtefactStore::is_offered().
  [[nodiscard]] Result<bool> is_offered(const ContentHash& bundle) const {
    return store_->is_offered(bundle);
  }
  /// Compiles unless there is an artefact, sees that it can be linked and fits a slot of the pool,
  /// and that others find it. Blocks. Errors: those of compile_component(), `engine.link_error`,
  /// `engine.artefact_incompatible`.
  /// Answers the size of the artefact in bytes, 0 when it found no room.
  Result<std::uint64_t> prepare(const ContentHash& bundle, const std::filesystem::path& wasm);
  /// See ArtefactStore::withdraw() and ArtefactStore::engine().
  Status withdraw(const ContentHash& bundle, const std::string& engine) {
    return store_->withdraw(bundle, engine);
  }
  [[nodiscard]] std::string engine() const { return store_->engine(); }

 private:
  Result<std::uint64_t> offer(const ContentHash& bundle);
  struct Entry {
    ContentHash bundle;
    std::shared_ptr<Component> component;
    SteadyTime used;   ///< the epoch: not since it is here
    SteadyTime noted;  ///< the last use of which the store knows
  };
  using Order = std::list<Entry>;
  struct Flight {
    std::filesystem::path wasm;
    std::shared_ptr<const void> lease;
    std::string line;  ///< of who asked first
    std::vector<Loaded> waiting;
  };

  struct Failure {
    Error error;
    SteadyTime until;
  };

  void load_from_disk(const ContentHash& bundle);
  /// Whether one more may be made ready for that line. Like the next two it wants `mutex_`.
  [[nodiscard]] bool has_room(const std::string& line) const;
  /// Null when it has not failed lately.
  const Error* find_failure(const ContentHash& bundle);
  void remember(const ContentHash& bundle, const Error& error);
  void finish(const ContentHash& bundle, Result<std::shared_ptr<Component>> outcome);
  Result<std::shared_ptr<Component>> link(const File& artefact);
  /// With Anew::yes also when there is an artefact, which it replaces.
  enum class Anew : bool { no, yes };
  Status compile(const ContentHash& bundle, const std::filesystem::path& wasm,
                 Anew anew = Anew::no);
  /// `used`: as of Entry, and noted.
  void keep(const ContentHash& bundle, std::shared_ptr<Component> component, SteadyTime used);
  /// Tells the store of the uses that it does not know. Blocks.
  void note_uses();
  void note_full();

  const Options options_;
  ab_engine* engine_;
  std::unique_ptr<ArtefactStore> store_;
  Counter& hits_;
  Counter& disk_hits_;
  Counter& compiles_;
  Counter& failures_;
  Gauge& components_;
  Histogram& compile_seconds_;
  Metrics& metrics_;
  Logger log_;
  std::mutex mutex_;
  Order order_;  ///< most recently used first
  std::unordered_map<ContentHash, Order::iterator> by_hash_;
  std::unordered_map<ContentHash, Flight> flights_;
  std::unordered_map<ContentHash, Failure> failed_;
  std::uint64_t image_bytes_ = 0;
  bool noting_ = false;  ///< note_uses() is on its way
  bool said_full_ = false;
  std::stop_source stop_;
  CompileTurns turns_;
  Worker compiler_;
  Worker loader_;  ///< hands work to `compiler_`, so it ends first
};

}  // namespace alga::engine
