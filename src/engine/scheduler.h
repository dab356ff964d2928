#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "domain/end_class.h"

namespace alga::engine {

/// Something that the engine threads drive: an execution. The scheduler calls these one at a time
/// (never two at once for one job), on any of its threads, without holding its lock.
class Job : public std::enable_shared_from_this<Job> {
 public:
  enum class Step : std::uint8_t { again, wait, finished };
  /// Why a job is not admitted: no place in the process or in the tenant's share, neither of which
  /// it may or could wait for; or it did wait, for as long as one may; or the scheduler stops.
  enum class Refusal : std::uint8_t { full, tenant_full, waited, tenant_waited, stopping };
  virtual ~Job() = default;
  [[nodiscard]] virtual const std::string& tenant() const = 0;
  /// Admitted: prepares. False when it has already ended.
  virtual bool start(std::chrono::microseconds queued) = 0;
  /// Runs for at most one slice. After `finished` it is not called again.
  virtual Step step() = 0;
  /// Ends it from outside: a deadline, a cancellation. Not called after `finished`.
  virtual void end(domain::EndClass reason) = 0;
  /// Tells the outcome to whoever waits for it and then gives back what the job holds, which may
  /// take as long as a short execution. Called once, after start(), step() or end() brought the
  /// end.
  virtual void conclude() = 0;
  /// It was never admitted.
  virtual void refuse(Refusal why) = 0;
  /// When its wall time is over; asked after start().
  [[nodiscard]] virtual SteadyTime deadline() const = 0;

 private:
  friend class Scheduler;
  enum class State : std::uint8_t { idle, queued, running, running_woken, gone };
  std::shared_ptr<Job> self_;  // from admission to the end: an idle job has no other owner
  State state_ = State::idle;  // under the scheduler's lock
  std::optional<domain::EndClass> end_reason_;  // likewise
  bool waiting_ = false;                        // in the admission queue
  bool started_ = false;
  bool had_slice_ = false;  // and was not done then
  SteadyTime submitted_{};
  std::multimap<SteadyTime, std::weak_ptr<Job>>::iterator timer_{};
  bool has_timer_ = false;
};

/// Runs jobs on a few threads, fairly between tenants: each tenant has its own queue, and the next
/// slice goes to the tenant that the threads have served least (fair queueing by processor time).
/// Who comes, or comes back, begins at the virtual time: nobody saves up by resting, and however
/// many come with something brief, who needs longer has a share. Admission is bounded in the
/// process and per tenant; who has to wait waits in the tenant's order, for a bounded time.
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
    std::uint32_t max_running = 64;
    std::uint32_t max_running_per_tenant = 16;
    std::uint32_t max_waiting = 1024;
    std::uint32_t max_waiting_per_tenant = 256;
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
  using JobPtr = std::shared_ptr<Job>;
  struct Tenant {
    std::deque<JobPtr> runnable;
    std::list<JobPtr> waiting;
    std::uint32_t running = 0;
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
  void admit(const JobPtr& job, Tenant& tenant);
  void admit_waiting();
  void conclude(std::unique_lock<std::mutex>& lock, const JobPtr& job);
  void retire(const JobPtr& job);
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
  std::deque<std::string> wait_ring_;  ///< tenants with waiting jobs, in turn
  std::multimap<SteadyTime, std::weak_ptr<Job>> timers_;
  std::uint32_t running_ = 0, waiting_ = 0;
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
