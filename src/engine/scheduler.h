#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "domain/end_class.h"
#include "engine/admission.h"
#include "engine/job.h"

namespace alga::engine {

/// Runs jobs on a few threads, fairly between tenants: each tenant has its own queue, and the next
/// slice goes to the tenant that the threads have served least (fair queueing by processor time).
/// Who comes, or comes back, begins at the virtual time: nobody saves up by resting, and however
/// many come with something brief, who needs longer has a share. Admission is bounded in the
/// process, per tenant and per install; who has to wait does so in turn, for a bounded time.
///
/// A job that comes while a thread concludes another waits for that thread and not for one that
/// sleeps: it then gets the memory that the processor still has in its caches. Not for longer than
/// two ticks.
///
/// One more thread is the pulse: it ticks the guest epoch once a slice while guests run, and
/// watches deadlines. It ticks early, though not more often than four times a millisecond, when a
/// job comes and all threads are busy, one at least with another tenant's job that had a slice
/// already. Guest time is real time, so it reads the steady clock itself.
class Scheduler {
 public:
  struct Options {
    std::uint32_t threads = 1;
    Admission::Bounds places;
    std::chrono::milliseconds queue_wait{1000};
    std::chrono::milliseconds slice{1};
  };
  struct Load {
    std::uint32_t running = 0, waiting = 0;
    bool operator==(const Load&) const = default;
  };
  /// `tick` advances the epoch; called from one thread only. `watch` is told the load a few times a
  /// second while guests run and once when the last has ended; from that thread too.
  Scheduler(Options options, std::function<void()> tick, std::function<void(Load)> watch = {});
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  /// Takes the job, or calls its refuse() before returning.
  void submit(std::shared_ptr<Job> job);
  /// The job can make progress. Cheap; from any thread, also from inside its own step().
  void wake(Job& job);
  /// Ends it with this reason as soon as its slice is over.
  void end(Job& job, domain::EndClass reason);

  [[nodiscard]] Load load() const;

  /// Ends the waiting for a place: who waits is refused at once, as he may find a place elsewhere,
  /// and who comes later gets one that is free or is refused. The first half of a shutdown.
  void refuse_waiting();
  /// Refuses what comes and, at once, what waits; gives what runs until `deadline`, then cancels
  /// it; joins.
  void stop(SteadyTime deadline);

 private:
  struct Tenant {
    std::deque<JobPtr> runnable;
    std::uint32_t admitted = 0;    ///< and not retired
    std::uint32_t long_steps = 0;  ///< threads with a job of it that had a slice before
    bool in_ring = false;
    std::chrono::nanoseconds served{0};  ///< on the scale of virtual_time_
  };

  void run_thread();
  void pulse_thread();
  /// Lets go of the lock and wakes a thread when a job waits for one: a thread that is woken under
  /// the lock would go to sleep again at once.
  void announce(std::unique_lock<std::mutex>& lock) { announce(lock, runnable_ > concluding_); }
  void announce(std::unique_lock<std::mutex>& lock, bool wanted);
  /// Lets go of the lock meanwhile; false when the load has changed since.
  bool tell_load(std::unique_lock<std::mutex>& lock);
  void drive(std::unique_lock<std::mutex>& lock, const JobPtr& job);
  /// A thread takes up (+1) or lays down (-1) a job that had a slice before.
  void count_long_step(const Job& job, int by);
  /// Somebody's job has just become runnable: must others make room?
  void hurry(const Tenant& tenant);
  void make_runnable(const JobPtr& job);
  /// The next job of the tenant of the ring that was served least, of the first of several.
  JobPtr take_next();
  /// The calling engine thread's processor time since it charged somebody last is this job's.
  void charge(const Job& job);
  /// It has a place. The tenant is the job's.
  Tenant& admit(const JobPtr& job);
  void conclude(std::unique_lock<std::mutex>& lock, const JobPtr& job);
  void retire(const JobPtr& job);
  /// Lets go of a tenant that has no jobs here.
  void forget(const std::string& tenant);
  void stop_timer(Job& job);
  using Refused = std::vector<std::pair<JobPtr, Job::Refusal>>;
  void expire(Refused& refused, SteadyTime now);
  void request_end(Job& job, domain::EndClass reason);

  const Options options_;
  const std::function<void()> tick_;
  const std::function<void(Load)> watch_;
  mutable std::mutex mutex_;
  std::condition_variable work_;
  std::condition_variable pulse_;
  std::condition_variable idle_;
  std::unordered_map<std::string, Tenant> tenants_;
  std::vector<Tenant*> ring_;  ///< tenants with runnable jobs, in the order they came
  /// What a tenant would have had that competed all the time, or a little less: it goes on by each
  /// one's share of what is served, and is never behind the least served of those who compete.
  std::chrono::nanoseconds virtual_time_{0};
  Admission admission_;
  std::multimap<SteadyTime, std::weak_ptr<Job>> timers_;
  std::uint32_t runnable_ = 0;  ///< jobs in the queues of the tenants of the ring
  std::uint64_t taken_ = 0;     ///< jobs that left them, ever
  std::uint32_t busy_threads_ = 0, idle_threads_ = 0;
  std::uint32_t concluding_ = 0;  ///< of the busy ones
  std::uint32_t long_steps_ = 0;  ///< of all tenants
  bool pulse_sleeps_ = false;
  bool hurry_ = false;       ///< tick as early as allowed
  bool call_pulse_ = false;  ///< the pulse does not know it yet
  bool queue_closed_ = false, closed_ = false, cancelling_ = false, stopping_ = false;
  std::vector<std::thread> threads_;
  std::thread pulse_runner_;
};

}  // namespace alga::engine
