#include "runner/health_watch.h"

#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "async/await_callback.h"

namespace alga::runner {
namespace {

using Seen = HealthWatch::Seen;

HealthWatch::Store standing_of(domain::BundleStore* store) {
  if (store == nullptr) return HealthWatch::Store::there;
  const Status answer = store->probe();
  if (answer) return HealthWatch::Store::there;
  return answer.error().code == "blob.unavailable" ? HealthWatch::Store::away
                                                   : HealthWatch::Store::refuses;
}

/// What throws is not healthy.
Seen look(const blob::BundleCache& bundles, domain::BundleStore* store) noexcept {
  try {
    return {.cache_writable = bundles.probe().has_value(),
            .has_bundles = bundles.size() > 0,
            .store = standing_of(store)};
  } catch (...) {
    return {};
  }
}

}  // namespace

struct HealthWatch::State {
  std::mutex mutex;
  std::optional<Seen> seen;
  SteadyTime at;  ///< the end of the last look
  bool looking = false;
  SteadyTime began;  ///< of the look that is under way
  std::vector<Callback<Seen>> waiting;

  void finish(const Seen& result, SteadyTime now) {
    std::vector<Callback<Seen>> told;
    {
      const std::scoped_lock lock(mutex);
      seen = result;
      at = now;
      looking = false;
      told.swap(waiting);
    }
    for (Callback<Seen>& done : told) done(result);
  }
};

HealthWatch::HealthWatch(async::BlockingPool* pool, const blob::BundleCache* bundles,
                         domain::BundleStore* store, const Clock* clock)
    : pool_(pool),
      bundles_(bundles),
      store_(store),
      clock_(clock),
      state_(std::make_shared<State>()) {}

async::Task<Seen> HealthWatch::see() {
  const Result<Seen> seen =
      co_await async::await_callback<Seen>([this](Callback<Seen> done) { ask(std::move(done)); });
  co_return seen.value_or(Seen{});
}

void HealthWatch::ask(Callback<Seen> done) {
  const SteadyTime now = clock_->steady();
  bool begin = false;
  std::optional<Seen> known;
  std::vector<Callback<Seen>> told;
  {
    const std::scoped_lock lock(state_->mutex);
    State& state = *state_;
    const auto age = now - state.at;
    if (state.looking && now - state.began >= patience) {
      known = Seen{};
    } else if (state.seen && age < stale) {
      known = state.seen;
    }
    if (!state.looking && (!state.seen || age >= fresh)) {
      state.looking = begin = true;
      state.began = now;
    }
    (known ? told : state.waiting).push_back(std::move(done));
  }
  const bool taken =
      !begin || pool_->submit([state = state_, bundles = bundles_, store = store_, clock = clock_] {
        state->finish(look(*bundles, store), clock->steady());
      });
  if (!taken) state_->finish({}, now);
  for (Callback<Seen>& each : told) each(known.value_or(Seen{}));
}

}  // namespace alga::runner
