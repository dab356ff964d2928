#include "engine/scheduler.h"

#include <pthread.h>
#include <sys/resource.h>
#include <time.h>

#include <algorithm>
#include <utility>

#include "base/time_slice.h"

namespace alga::engine {
namespace {

/// After so long without a busy thread the pulse stops ticking.
constexpr auto pulse_rest = std::chrono::milliseconds{20};
constexpr auto watch_interval = std::chrono::milliseconds{250};
/// How far engine threads stand below those that made them.
constexpr int below_others = 5;
/// Between two ticks when somebody waits for one.
constexpr auto shortest_slice = std::chrono::microseconds{250};

SteadyTime now() { return std::chrono::steady_clock::now(); }

/// Of the calling thread. Time in which it was ready and others ran is nobody's debt.
std::chrono::nanoseconds processor_time() {
  timespec at{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &at);
  return std::chrono::seconds{at.tv_sec} + std::chrono::nanoseconds{at.tv_nsec};
}

thread_local std::chrono::nanoseconds charged_until{0};

enum class Waited : bool { no, yes };

Job::Refusal refusal(Admission::Answer obstacle, Waited waited) {
  const bool late = waited == Waited::yes;
  switch (obstacle) {
    case Admission::Answer::tenant_full:
      return late ? Job::Refusal::tenant_waited : Job::Refusal::tenant_full;
    case Admission::Answer::install_full:
      return late ? Job::Refusal::install_waited : Job::Refusal::install_full;
    default: return late ? Job::Refusal::waited : Job::Refusal::full;
  }
}

}  // namespace

Scheduler::Scheduler(Options options, std::function<void()> tick, std::function<void(Load)> watch)
    : options_(options),
      tick_(std::move(tick)),
      watch_(std::move(watch)),
      admission_(options.places) {
  for (std::uint32_t i = 0; i < std::max(1U, options_.threads); ++i) {
    threads_.emplace_back([this] {
      pthread_setname_np(pthread_self(), "alga-engine");
      // Below the I/O threads: a guest never delays an answer that is ready. Applies to this thread
      // only (Linux); without effect where it is not permitted.
      (void)::setpriority(PRIO_PROCESS, 0, ::getpriority(PRIO_PROCESS, 0) + below_others);
      // Where the kernel has two of them on one processor, they take turns as guests do.
      (void)ask_for_short_turns(options_.slice);
      run_thread();
    });
  }
  pulse_runner_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "alga-pulse");
    ask_for_short_turns(brief_turn);
    pulse_thread();
  });
}

Scheduler::~Scheduler() { stop(now()); }

void Scheduler::submit(std::shared_ptr<Job> job) {
  Job::Refusal why = Job::Refusal::stopping;
  {
    std::unique_lock lock(mutex_);
    job->submitted_ = now();
    if (!closed_) {
      const bool may_wait = options_.queue_wait.count() > 0 && !queue_closed_;
      const Admission::Answer answer = admission_.ask(job, may_wait);
      if (answer == Admission::Answer::admitted) {
        hurry(admit(job));
        return announce(lock);
      }
      if (answer == Admission::Answer::waits) {
        job->timer_ = timers_.emplace(job->submitted_ + options_.queue_wait, job);
        job->has_timer_ = true;
        return announce(lock);
      }
      if (!queue_closed_) why = refusal(answer, Waited::no);
    }
    job->state_ = Job::State::gone;
  }
  job->refuse(why);
}

void Scheduler::wake(Job& job) {
  std::unique_lock lock(mutex_);
  if (job.state_ == Job::State::idle && !admission_.waits(job)) {
    make_runnable(job.shared_from_this());
    hurry(tenants_[job.tenant()]);
    announce(lock);
  } else if (job.state_ == Job::State::running) {
    job.state_ = Job::State::running_woken;
  }
}

void Scheduler::hurry(const Tenant& tenant) {
  const bool no_thread = runnable_ > idle_threads_ + concluding_;
  if (hurry_ || !no_thread || long_steps_ <= tenant.long_steps) return;
  hurry_ = call_pulse_ = true;
}

void Scheduler::end(Job& job, domain::EndClass reason) {
  std::unique_lock lock(mutex_);
  request_end(job, reason);
  announce(lock);
}

void Scheduler::announce(std::unique_lock<std::mutex>& lock, bool wanted) {
  wanted = wanted && idle_threads_ > 0;
  const bool pulse = std::exchange(call_pulse_, false) || pulse_sleeps_;
  lock.unlock();
  if (wanted) work_.notify_one();
  if (pulse) pulse_.notify_one();
}

void Scheduler::request_end(Job& job, domain::EndClass reason) {
  if (job.state_ == Job::State::gone || job.end_reason_) return;
  job.end_reason_ = reason;
  if (admission_.waits(job)) {
    // It is admitted for a moment so that it ends like the others, on an engine thread.
    JobPtr self = job.shared_from_this();
    admission_.squeeze_in(self);
    (void)admit(self);
  } else if (job.state_ == Job::State::idle) {
    make_runnable(job.shared_from_this());
  } else if (job.state_ == Job::State::running) {
    job.state_ = Job::State::running_woken;
  }
}

Scheduler::Load Scheduler::load() const {
  std::lock_guard lock(mutex_);
  return {admission_.running(), admission_.waiting()};
}

void Scheduler::make_runnable(const JobPtr& job) {
  job->state_ = Job::State::queued;
  Tenant& tenant = tenants_[job->tenant()];
  tenant.runnable.push_back(job);
  ++runnable_;
  if (!tenant.in_ring) {
    tenant.in_ring = true;
    tenant.served = std::max(tenant.served, virtual_time_);
    ring_.push_back(&tenant);
  }
}

JobPtr Scheduler::take_next() {
  const auto next = std::ranges::min_element(ring_, {}, &Tenant::served);
  Tenant& tenant = **next;
  virtual_time_ = std::max(virtual_time_, tenant.served);
  JobPtr job = std::move(tenant.runnable.front());
  tenant.runnable.pop_front();
  --runnable_;
  ++taken_;
  tenant.in_ring = !tenant.runnable.empty();
  // Among equals it is the others' turn then.
  std::rotate(next, next + 1, ring_.end());
  if (!tenant.in_ring) ring_.pop_back();
  return job;
}

void Scheduler::charge(const Job& job) {
  const auto until = processor_time();
  const auto spent = until - std::exchange(charged_until, until);
  tenants_[job.tenant()].served += spent;
  // A tenant in the ring and on threads counts more than once: behind is the safe side.
  virtual_time_ += spent / (ring_.size() + busy_threads_);
}

void Scheduler::stop_timer(Job& job) {
  if (std::exchange(job.has_timer_, false)) timers_.erase(job.timer_);
}

Scheduler::Tenant& Scheduler::admit(const JobPtr& job) {
  stop_timer(*job);
  Tenant& tenant = tenants_[job->tenant()];
  ++tenant.admitted;
  job->self_ = job;
  make_runnable(job);
  return tenant;
}

void Scheduler::forget(const std::string& tenant) {
  const auto found = tenants_.find(tenant);
  // What a tenant was served stays while somebody of it waits.
  if (found == tenants_.end() || found->second.admitted > 0 || found->second.in_ring) return;
  if (!admission_.anybody_waits(tenant)) tenants_.erase(found);
}

void Scheduler::retire(const JobPtr& job) {
  job->state_ = Job::State::gone;
  job->self_.reset();
  stop_timer(*job);
  --tenants_[job->tenant()].admitted;
  admission_.leave(*job);
  if (const JobPtr next = admission_.next()) (void)admit(next);
  forget(job->tenant());
  if (admission_.running() == 0) idle_.notify_all();
}

void Scheduler::run_thread() {
  std::unique_lock lock(mutex_);
  while (true) {
    ++idle_threads_;
    work_.wait(lock, [this] { return stopping_ || !ring_.empty(); });
    --idle_threads_;
    if (ring_.empty()) return;
    ++busy_threads_;
    drive(lock, take_next());
    --busy_threads_;
  }
}

void Scheduler::count_long_step(const Job& job, int by) {
  if (!job.had_slice_) return;
  tenants_[job.tenant()].long_steps += static_cast<std::uint32_t>(by);
  long_steps_ += static_cast<std::uint32_t>(by);
}

/// The lock is held on entry and on return. Counted before the outcome is told: the next request of
/// that caller may be here before this thread goes on.
void Scheduler::conclude(std::unique_lock<std::mutex>& lock, const JobPtr& job) {
  count_long_step(*job, -1);
  ++concluding_;
  lock.unlock();
  job->conclude();
  lock.lock();
  --concluding_;
  charge(*job);
  retire(job);
}

/// Starts, steps or ends one job; the lock is held on entry and on return. What else waits is for
/// the next thread, which each one wakes when it takes a job.
void Scheduler::drive(std::unique_lock<std::mutex>& lock, const JobPtr& job) {
  const bool first = !std::exchange(job->started_, true);
  auto queued = std::chrono::duration_cast<std::chrono::microseconds>(now() - job->submitted_);
  job->state_ = Job::State::running;
  count_long_step(*job, 1);
  std::optional<domain::EndClass> reason = job->end_reason_;
  announce(lock);
  if (first && !job->start(queued)) {
    lock.lock();
    return conclude(lock, job);
  }
  if (reason) {
    job->end(*reason);
    lock.lock();
    return conclude(lock, job);
  }
  if (first) {
    SteadyTime deadline = job->deadline();
    lock.lock();
    job->timer_ = timers_.emplace(deadline, job);
    job->has_timer_ = true;
    if (cancelling_ && !job->end_reason_) job->end_reason_ = domain::EndClass::cancelled;
    announce(lock);
  }
  Job::Step step = job->step();
  lock.lock();
  if (step == Job::Step::finished) return conclude(lock, job);
  count_long_step(*job, -1);
  charge(*job);
  job->had_slice_ = step == Job::Step::again;
  if (step == Job::Step::again || job->state_ == Job::State::running_woken || job->end_reason_) {
    make_runnable(job);
  } else {
    job->state_ = Job::State::idle;
  }
}

void Scheduler::expire(Refused& refused, SteadyTime at) {
  while (!timers_.empty() && timers_.begin()->first <= at) {
    JobPtr job = timers_.begin()->second.lock();
    timers_.erase(timers_.begin());
    if (!job) continue;
    job->has_timer_ = false;
    if (!admission_.waits(*job)) {
      request_end(*job, domain::EndClass::wall_limit);
      continue;
    }
    job->state_ = Job::State::gone;
    const Job::Refusal why = refusal(admission_.give_up(job), Waited::yes);
    forget(job->tenant());
    refused.emplace_back(std::move(job), why);
  }
}

bool Scheduler::tell_load(std::unique_lock<std::mutex>& lock) {
  if (!watch_) return true;
  const Load seen{admission_.running(), admission_.waiting()};
  const std::uint64_t taken = taken_;
  lock.unlock();
  watch_(seen);
  lock.lock();
  return seen == Load{admission_.running(), admission_.waiting()} && taken == taken_;
}

void Scheduler::pulse_thread() {
  std::unique_lock lock(mutex_);
  SteadyTime busy_at = now();
  SteadyTime told_at{}, ticked_at = busy_at;
  std::optional<std::uint64_t> waited;  // taken_ when the last turn saw jobs wait
  while (!stopping_ || admission_.running() > 0) {
    SteadyTime at = now();
    if (busy_threads_ > 0) busy_at = at;
    Refused refused;
    expire(refused, at);
    const auto gap = [&] { return hurry_ ? shortest_slice : options_.slice; };
    const bool tick = busy_threads_ > 0 && at - ticked_at >= gap();
    if (tick) ticked_at = at;
    if (tick || busy_threads_ == 0) hurry_ = false;
    const auto waits = ring_.empty() ? std::nullopt : std::optional(taken_);
    const bool stuck = waits && waits == waited;
    waited = waits;
    if (tick || !refused.empty() || !ring_.empty()) {
      announce(lock, runnable_ > (stuck ? 0 : concluding_));
      if (tick) tick_();
      for (const auto& [job, why] : refused) job->refuse(why);
      refused.clear();
      lock.lock();
    }
    const bool rests = at - busy_at >= pulse_rest;
    if (rests || at - told_at >= watch_interval) {
      told_at = at;
      const bool current = tell_load(lock);
      // Something may have come or ended meanwhile, whose notification nobody would hear.
      if (rests && (!current || busy_threads_ > 0 || !ring_.empty() || stopping_)) continue;
    }
    if (!rests) {
      SteadyTime next = busy_threads_ > 0 ? ticked_at + gap() : at + options_.slice;
      if (!timers_.empty()) next = std::min(next, timers_.begin()->first);
      pulse_.wait_until(lock, next);
      continue;
    }
    pulse_sleeps_ = true;
    if (timers_.empty()) {
      pulse_.wait(lock);
    } else {
      pulse_.wait_until(lock, timers_.begin()->first);
    }
    pulse_sleeps_ = false;
  }
}

void Scheduler::refuse_waiting() {
  std::vector<JobPtr> refused;
  {
    std::lock_guard lock(mutex_);
    queue_closed_ = true;
    refused = admission_.give_up_all();
    for (const JobPtr& job : refused) {
      job->state_ = Job::State::gone;
      stop_timer(*job);
      forget(job->tenant());
    }
  }
  for (const JobPtr& job : refused) job->refuse(Job::Refusal::stopping);
}

void Scheduler::stop(SteadyTime deadline) {
  {
    std::lock_guard lock(mutex_);
    if (stopping_) return;
    closed_ = true;
  }
  refuse_waiting();
  {
    std::unique_lock lock(mutex_);
    idle_.wait_until(lock, deadline, [this] { return admission_.running() == 0; });
    cancelling_ = true;
    // What has started has a timer: end every one of them now.
    auto timers = std::exchange(timers_, {});
    for (auto& [when, weak] : timers) {
      JobPtr job = weak.lock();
      if (!job) continue;
      job->has_timer_ = false;
      request_end(*job, domain::EndClass::cancelled);
    }
    work_.notify_all();
    idle_.wait(lock, [this] { return admission_.running() == 0; });
    stopping_ = true;
    work_.notify_all();
    pulse_.notify_all();
  }
  for (std::thread& thread : threads_) thread.join();
  pulse_runner_.join();
}

}  // namespace alga::engine
