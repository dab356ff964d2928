#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

#include "async/blocking_pool.h"
#include "async/task.h"
#include "base/callback.h"
#include "base/clock.h"
#include "blob/bundle_cache.h"
#include "domain/ports/bundle_store.h"

namespace alga::runner {

/// Looks at what a runner depends on, on the blocking pool and one look at a time. Whoever asks is
/// told what was seen last, and a look that is older than `fresh` has the next one begun: a store
/// that says nothing makes no answer late, and however many ask, it is asked once in that time.
/// Who asks waits only where the last look is older than `stale`, or there was none. Thread-safe.
/// The pool is closed before the rest goes.
class HealthWatch {
 public:
  enum class Store : std::uint8_t {
    there,
    away,     ///< does not answer: the same for every other runner
    refuses,  ///< says that this process may not, or that its bucket is missing
  };
  struct Seen {
    bool cache_writable = false;
    bool has_bundles = false;
    Store store = Store::away;
  };
  static constexpr std::chrono::seconds fresh{1};
  static constexpr std::chrono::seconds stale{30};
  /// A look that takes longer is a sign itself: of a disk that hangs, of threads that all wait.
  static constexpr std::chrono::seconds patience{10};

  /// All of it outlives this and is there when somebody asks, except that `store` may be null: then
  /// there is none to miss.
  HealthWatch(async::BlockingPool* pool, const blob::BundleCache* bundles,
              domain::BundleStore* store, const Clock* clock);

  async::Task<Seen> see();

 private:
  struct State;
  void ask(Callback<Seen> done);

  async::BlockingPool* const pool_;
  const blob::BundleCache* const bundles_;
  domain::BundleStore* const store_;
  const Clock* const clock_;
  const std::shared_ptr<State> state_;  ///< a look may end after us
};

}  // namespace alga::runner
