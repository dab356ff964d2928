#include "async/thread_name.h"
#include "control_plane/sql_control_plane.h"

namespace alga::control_plane {
namespace {

/// Long enough to compare a month with the same month of the year before.
constexpr std::chrono::hours kUsageKept{24 * 400};

/// Of a duty that does all there is.
template <class T>
Result<bool> done(Result<T> outcome) {
  if (outcome) return false;
  return fail(std::move(outcome).error());
}

}  // namespace

Housekeeping::Housekeeping(Services& services) : services_(services) {
  using std::chrono::seconds;
  duties_ = {
      {"audit", seconds{1}, [this] { return done(services_.sealer.seal()); }},
      {"signing keys", seconds{30}, [this] { return done(services_.signing.refresh()); }},
      {"storage", seconds{60}, [this] { return sweep_storage(); }},
      {"uploads", seconds{600}, [this] { return done(services_.staging.sweep()); }},
      {"retention", seconds{600}, [this] { return done(services_.retention.sweep()); }},
      {"quotas", seconds{3600}, [this] { return done(services_.quotas.sweep(kUsageKept)); }},
      {"redemptions", seconds{60}, [this] { return done(services_.broker.sweep()); }},
      {"idempotency", seconds{60}, [this] { return services_.idempotency.sweep(); }},
  };
  thread_ = std::thread([this] { run(); });
}

Result<bool> Housekeeping::sweep_storage() {
  TRY(const StorageSweep swept, services_.storage_records.sweep());
  return swept.more;
}

Housekeeping::~Housekeeping() { stop(); }

void Housekeeping::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Housekeeping::run() {
  async::name_this_thread("housekeeping");
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    lock.unlock();
    auto now = std::chrono::steady_clock::now();
    for (Duty& duty : duties_) {
      if (now < duty.next) continue;
      duty.next = now + duty.every;
      const Result<bool> more = duty.work();
      if (!more) {
        services_.core.log().warn("housekeeping failed",
                                  {{"duty", duty.name}, {"code", more.error().code}});
      } else if (*more) {
        duty.next = now;
      }
    }
    lock.lock();
    wake_.wait_for(lock, std::chrono::milliseconds{500}, [&] { return stopping_; });
  }
}

}  // namespace alga::control_plane
