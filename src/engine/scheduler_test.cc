#include "engine/scheduler.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <latch>
#include <vector>

#include "base/time_slice.h"

namespace alga::engine {
namespace {

using domain::EndClass;

/// A job that follows a script and says when it is over.
class ScriptedJob final : public Job {
 public:
  ScriptedJob(std::string tenant, std::function<Step()> script, std::function<void()> over = {})
      : tenant_(std::move(tenant)), script_(std::move(script)), over_(std::move(over)) {}
  [[nodiscard]] const std::string& tenant() const override { return tenant_; }
  [[nodiscard]] const std::string& install() const override { return tenant_; }
  bool start(std::chrono::microseconds) override {
    deadline_ = std::chrono::steady_clock::now() + wall;
    return true;
  }
  Step step() override {
    ++steps;
    Step step = script_();
    if (step == Step::finished && over_) over_();
    return step;
  }
  void end(EndClass reason) override {
    ended = reason;
    if (over_) over_();
  }
  void conclude() override {
    if (conclusion) conclusion();
  }
  void refuse(Refusal why) override {
    refusal = why;
    refused = true;
    if (over_) over_();
  }
  [[nodiscard]] SteadyTime deadline() const override { return deadline_; }

  std::function<void()> conclusion;
  std::chrono::milliseconds wall{60'000};
  std::atomic<int> steps{0};
  std::atomic<bool> refused{false};
  std::atomic<Refusal> refusal{};
  std::optional<EndClass> ended;

 private:
  std::string tenant_;
  std::function<Step()> script_;
  std::function<void()> over_;
  SteadyTime deadline_{};
};

Scheduler::Options small() {
  Scheduler::Options options;
  options.threads = 1;
  options.places = {.running = 2, .running_per_tenant = 1, .waiting = 2, .waiting_per_tenant = 1};
  options.queue_wait = std::chrono::milliseconds{30};
  return options;
}

// What jobs look at is declared before their scheduler, whose destructor waits for the threads that
// run them.

TEST(Scheduler, AnIdleJobLivesUntilItIsWokenThoughNobodyElseHoldsIt) {
  std::latch waiting(1), over(1);
  std::atomic<int> round{0};
  Scheduler scheduler({}, [] {});
  std::weak_ptr<Job> weak;
  {
    auto job = std::make_shared<ScriptedJob>(
        "t",
        [&] {
          if (round++ > 0) return Job::Step::finished;
          waiting.count_down();
          return Job::Step::wait;
        },
        [&] { over.count_down(); });
    weak = job;
    scheduler.submit(job);
  }
  waiting.wait();
  while (scheduler.load().running == 0) std::this_thread::yield();
  auto job = weak.lock();
  ASSERT_NE(job, nullptr);
  scheduler.wake(*job);
  over.wait();
  EXPECT_EQ(round.load(), 2);
}

TEST(Scheduler, GuestsRunBelowTheThreadsThatAnswerWhereverThoseStand) {
  const int ours = ::getpriority(PRIO_PROCESS, 0);
  if (ours > 11) GTEST_SKIP() << "SKIPPED: these tests run at nearly the lowest priority there is";
  std::atomic<int> theirs{-100};
  std::thread([&] {  // a server under `nice`
    ASSERT_EQ(::setpriority(PRIO_PROCESS, 0, ours + 3), 0);
    std::latch over(1);
    Scheduler scheduler({}, [] {});
    scheduler.submit(std::make_shared<ScriptedJob>(
        "t",
        [&] {
          theirs = ::getpriority(PRIO_PROCESS, 0);
          return Job::Step::finished;
        },
        [&] { over.count_down(); }));
    over.wait();
  })
      .join();
  EXPECT_EQ(theirs, ours + 3 + 5);
}

/// `struct sched_attr` of the calling thread, which has its turn (`sched_runtime`) in it.
std::array<std::uint8_t, 48> scheduling() {
  std::array<std::uint8_t, 48> attributes{};
  EXPECT_EQ(::syscall(SYS_sched_getattr, 0, attributes.data(), attributes.size(), 0), 0);
  return attributes;
}

TEST(Scheduler, ItsThreadsHaveTurnsOfASliceFromTheKernel) {
  constexpr std::chrono::milliseconds slice{7};
  const int ours = ::getpriority(PRIO_PROCESS, 0);
  std::array<std::uint8_t, 48> wanted{}, theirs{};
  std::thread([&] {
    ASSERT_EQ(::setpriority(PRIO_PROCESS, 0, ours + 5), 0);
    ask_for_short_turns(slice);  // without effect on kernels that know no turns of a thread's own
    wanted = scheduling();
  }).join();
  std::latch over(1);
  Scheduler scheduler({.slice = slice}, [] {});
  scheduler.submit(std::make_shared<ScriptedJob>(
      "t",
      [&] {
        theirs = scheduling();
        return Job::Step::finished;
      },
      [&] { over.count_down(); }));
  over.wait();
  EXPECT_EQ(theirs, wanted);
}

TEST(Scheduler, AWakeDuringTheStepIsNotLost) {
  Scheduler* self = nullptr;
  std::latch over(1);
  Scheduler scheduler({}, [] {});
  self = &scheduler;
  std::shared_ptr<ScriptedJob> job;
  job = std::make_shared<ScriptedJob>(
      "t",
      [&] {
        if (job->steps.load() > 1) return Job::Step::finished;
        self->wake(*job);
        return Job::Step::wait;
      },
      [&] { over.count_down(); });
  scheduler.submit(job);
  over.wait();
  EXPECT_EQ(job->steps.load(), 2);
}

TEST(Scheduler, WhatComesWhileAThreadConcludesWaitsForThatThread) {
  Scheduler::Options options;
  options.threads = 2;
  options.slice = std::chrono::milliseconds{2000};  // the pulse does not interfere
  std::latch both(2), over(2), concluding(1), submitted(1);
  Scheduler scheduler(options, [] {});
  for (int i = 0; i < 2; ++i) {
    scheduler.submit(std::make_shared<ScriptedJob>("t", [&] {
      both.arrive_and_wait();
      return Job::Step::finished;
    }));
  }
  both.wait();
  std::this_thread::sleep_for(std::chrono::milliseconds{50});  // both threads sleep again
  std::thread::id concluder, runner;
  auto first = std::make_shared<ScriptedJob>(
      "t", [] { return Job::Step::finished; }, [&] { over.count_down(); });
  first->conclusion = [&] {
    concluder = std::this_thread::get_id();
    concluding.count_down();
    submitted.wait();
    std::this_thread::sleep_for(std::chrono::milliseconds{20});  // time for the other to be woken
  };
  auto second = std::make_shared<ScriptedJob>(
      "t",
      [&] {
        runner = std::this_thread::get_id();
        return Job::Step::finished;
      },
      [&] { over.count_down(); });
  scheduler.submit(first);
  concluding.wait();
  scheduler.submit(second);
  submitted.count_down();
  over.wait();
  EXPECT_EQ(runner, concluder);
}

TEST(Scheduler, AConclusionWithoutEndHoldsNobodyUp) {
  Scheduler::Options options;
  options.threads = 2;
  std::latch concluding(1), second_over(1);
  Scheduler scheduler(options, [] {});
  auto first = std::make_shared<ScriptedJob>("t", [] { return Job::Step::finished; });
  first->conclusion = [&] {
    concluding.count_down();
    second_over.wait();
  };
  auto second = std::make_shared<ScriptedJob>(
      "t", [] { return Job::Step::finished; }, [&] { second_over.count_down(); });
  scheduler.submit(first);
  concluding.wait();
  scheduler.submit(second);
  second_over.wait();
  EXPECT_EQ(second->steps.load(), 1);
}

TEST(Scheduler, AHogMakesRoomForAnotherTenantBeforeItsSliceIsOver) {
  Scheduler::Options options;
  options.threads = 1;
  options.slice = std::chrono::hours{1};
  std::atomic<int> ticks{0};
  std::atomic<bool> long_step{false};
  std::latch over(1);
  Scheduler scheduler(options, [&] { ++ticks; });
  scheduler.submit(std::make_shared<ScriptedJob>("greedy", [&] {
    if (!long_step.exchange(true)) return Job::Step::again;
    const int seen = ticks.load();
    while (ticks.load() == seen) std::this_thread::yield();
    return Job::Step::finished;
  }));
  while (!long_step.load()) std::this_thread::yield();
  const int before = ticks.load();
  auto own = std::make_shared<ScriptedJob>("greedy", [] { return Job::Step::finished; });
  scheduler.submit(own);
  std::this_thread::sleep_for(std::chrono::milliseconds{20});
  EXPECT_EQ(ticks.load(), before);  // its own tenant's job waits
  scheduler.submit(std::make_shared<ScriptedJob>(
      "other", [] { return Job::Step::finished; }, [&] { over.count_down(); }));
  over.wait();
  EXPECT_GT(ticks.load(), before);
}

TEST(Scheduler, EndsAJobThatWaitsBeyondItsWallTime) {
  std::latch over(1);
  Scheduler scheduler({}, [] {});
  auto job = std::make_shared<ScriptedJob>(
      "t", [] { return Job::Step::wait; }, [&] { over.count_down(); });
  job->wall = std::chrono::milliseconds{5};
  scheduler.submit(job);
  over.wait();
  EXPECT_EQ(job->ended, EndClass::wall_limit);
}

TEST(Scheduler, TheTenantsShareIsABoundAndTheWaitToo) {
  std::latch refused(2);
  Scheduler scheduler(small(), [] {});
  auto running = std::make_shared<ScriptedJob>("t", [] { return Job::Step::wait; });
  auto waits = std::make_shared<ScriptedJob>(
      "t", [] { return Job::Step::finished; }, [&] { refused.count_down(); });
  auto one_too_many = std::make_shared<ScriptedJob>(
      "t", [] { return Job::Step::finished; }, [&] { refused.count_down(); });
  scheduler.submit(running);
  scheduler.submit(waits);
  EXPECT_EQ(scheduler.load().waiting, 1U);
  scheduler.submit(one_too_many);
  EXPECT_EQ(one_too_many->refusal.load(), Job::Refusal::tenant_full);
  refused.wait();
  EXPECT_TRUE(waits->refused.load());
  EXPECT_EQ(waits->refusal.load(), Job::Refusal::tenant_waited);
  EXPECT_EQ(waits->steps.load(), 0);
  scheduler.end(*running, EndClass::cancelled);
}

TEST(Scheduler, WhoWaitsForAPlaceInTheProcessIsToldThatItWaited) {
  Scheduler::Options options = small();
  options.places.running = 1;
  options.places.waiting = 1;
  std::latch refused(2);
  Scheduler scheduler(options, [] {});
  auto running = std::make_shared<ScriptedJob>("t", [] { return Job::Step::wait; });
  auto waits = std::make_shared<ScriptedJob>(
      "u", [] { return Job::Step::finished; }, [&] { refused.count_down(); });
  auto one_too_many = std::make_shared<ScriptedJob>(
      "v", [] { return Job::Step::finished; }, [&] { refused.count_down(); });
  scheduler.submit(running);
  scheduler.submit(waits);
  scheduler.submit(one_too_many);
  EXPECT_EQ(one_too_many->refusal.load(), Job::Refusal::full);
  refused.wait();
  EXPECT_EQ(waits->refusal.load(), Job::Refusal::waited);
  scheduler.end(*running, EndClass::cancelled);
}

TEST(Scheduler, StopTellsAllWhoWaitAtOnceAndLetsWhatRunsEnd) {
  Scheduler::Options options;
  options.threads = 2;
  options.places.running = 2;
  options.places.running_per_tenant = 1;
  options.queue_wait = std::chrono::seconds{60};
  auto scheduler = std::make_unique<Scheduler>(options, [] {});
  std::latch started(2);
  std::latch refused(9);
  std::atomic<bool> go_on{false};
  std::vector<std::shared_ptr<ScriptedJob>> running;
  std::vector<std::shared_ptr<ScriptedJob>> waiting;
  for (const char* tenant : {"a", "b"}) {
    running.push_back(std::make_shared<ScriptedJob>(tenant, [&, first = true]() mutable {
      if (std::exchange(first, false)) started.count_down();
      return go_on ? Job::Step::finished : Job::Step::again;
    }));
    scheduler->submit(running.back());
  }
  started.wait();
  for (int i = 0; i < 9; ++i) {  // of tenants that run, and of one that does not
    waiting.push_back(std::make_shared<ScriptedJob>(
        std::string(1, static_cast<char>('a' + i % 3)), [] { return Job::Step::finished; },
        [&] { refused.count_down(); }));
    scheduler->submit(waiting.back());
  }
  ASSERT_EQ(scheduler->load().waiting, 9U);
  std::thread stopper(
      [&] { scheduler->stop(std::chrono::steady_clock::now() + std::chrono::seconds{60}); });
  refused.wait();  // while both still run: who waits is not kept until they have ended
  EXPECT_FALSE(running[0]->ended.has_value());
  go_on = true;
  stopper.join();
  for (const auto& job : waiting) {
    EXPECT_EQ(job->refusal.load(), Job::Refusal::stopping);
    EXPECT_EQ(job->steps.load(), 0);
  }
  for (const auto& job : running) {
    EXPECT_FALSE(job->ended.has_value()) << "it ended by itself";
    EXPECT_FALSE(job->refused.load());
  }
  EXPECT_EQ(scheduler->load(), Scheduler::Load{});
}

TEST(Scheduler, AWaitingJobIsAdmittedWhenItsTenantHasRoomAgain) {
  Scheduler::Options options = small();
  options.queue_wait = std::chrono::seconds{60};
  std::latch over(2);
  Scheduler scheduler(options, [] {});
  auto first = std::make_shared<ScriptedJob>(
      "t", [] { return Job::Step::wait; }, [&] { over.count_down(); });
  auto second = std::make_shared<ScriptedJob>(
      "t", [] { return Job::Step::finished; }, [&] { over.count_down(); });
  scheduler.submit(first);
  scheduler.submit(second);
  scheduler.end(*first, EndClass::cancelled);
  over.wait();
  EXPECT_EQ(second->steps.load(), 1);
}

/// Needs this much processor time, however often it is interrupted.
void burn(std::chrono::microseconds time) {
  const auto used = [] {
    timespec at{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &at);
    return std::chrono::seconds{at.tv_sec} + std::chrono::nanoseconds{at.tv_nsec};
  };
  for (const auto begin = used(); used() - begin < time;) continue;
}

/// Steps of a tenant with twenty jobs of 200 µs a step, while a neighbour has fifty such steps.
int steps_of_hog_beside(std::chrono::microseconds step_of_neighbour) {
  Scheduler::Options options;
  options.threads = 1;
  options.places = {.running = 64, .running_per_tenant = 32, .running_per_install = 32};
  std::atomic<bool> stop{false};
  std::atomic<int> hog_steps{0};
  std::latch over(21);
  std::atomic<int> at_start{-1};
  std::atomic<int> at_end{0};
  std::shared_ptr<ScriptedJob> neighbour;
  Scheduler scheduler(options, [] {});
  for (int i = 0; i < 20; ++i) {
    scheduler.submit(std::make_shared<ScriptedJob>(
        "hog",
        [&] {
          ++hog_steps;
          burn(std::chrono::microseconds{200});
          return stop ? Job::Step::finished : Job::Step::again;
        },
        [&] { over.count_down(); }));
  }
  while (hog_steps.load() < 100) std::this_thread::yield();
  neighbour = std::make_shared<ScriptedJob>(
      "neighbour",
      [&] {
        if (at_start < 0) at_start = hog_steps.load();
        at_end = hog_steps.load();
        burn(step_of_neighbour);
        return neighbour->steps.load() < 50 ? Job::Step::again : Job::Step::finished;
      },
      [&] {
        stop = true;
        over.count_down();
      });
  scheduler.submit(neighbour);
  over.wait();
  return at_end - at_start;
}

TEST(Scheduler, TenantsTakeTurnsHoweverManyJobsOneOfThemHas) {
  // One slice of the hog's for each of the neighbour's, not twenty.
  const int steps = steps_of_hog_beside(std::chrono::microseconds{200});
  EXPECT_GE(steps, 25);
  EXPECT_LE(steps, 100);
}

TEST(Scheduler, WhoNeedsLittleIsServedBeforeWhoHadMuch) {
  // A tenth of the time, so about a tenth of the steps: turns alone would be one for one.
  EXPECT_LE(steps_of_hog_beside(std::chrono::microseconds{20}), 30);
}

TEST(Scheduler, HoweverManyComeWithSomethingBriefWhoNeedsLongerHasAShare) {
  Scheduler::Options options;
  options.threads = 1;
  options.places.running = 64;
  constexpr int steps_needed = 20, most_brief = 2000, at_once = 3;
  std::atomic<int> brief{0}, brief_at_end{0};
  std::atomic<bool> stop{false};
  std::latch over(at_once + 1);
  std::shared_ptr<ScriptedJob> patient;
  std::function<void()> come;
  Scheduler scheduler(options, [] {});
  // Each tenant is a new one with one job, which is followed by the next before it is gone.
  come = [&] {
    scheduler.submit(std::make_shared<ScriptedJob>("brief " + std::to_string(++brief), [&] {
      burn(std::chrono::microseconds{100});
      if (stop || brief >= most_brief) {
        over.count_down();
      } else {
        come();
      }
      return Job::Step::finished;
    }));
  };
  for (int i = 0; i < at_once; ++i) come();
  patient = std::make_shared<ScriptedJob>(
      "patient",
      [&] {
        burn(std::chrono::microseconds{100});
        return patient->steps.load() < steps_needed ? Job::Step::again : Job::Step::finished;
      },
      [&] {
        brief_at_end = brief.load();
        stop = true;
        over.count_down();
      });
  scheduler.submit(patient);
  over.wait();
  // Five compete for the thread (the one that runs counts twice): twenty times five, and some.
  EXPECT_LE(brief_at_end, most_brief / 2);
}

TEST(Scheduler, StopRefusesWhatComesAndCancelsWhatRuns) {
  auto scheduler = std::make_unique<Scheduler>(Scheduler::Options{}, [] {});
  std::latch waiting(1);
  auto job = std::make_shared<ScriptedJob>("t", [&] {
    waiting.count_down();
    return Job::Step::wait;
  });
  scheduler->submit(job);
  waiting.wait();
  scheduler->stop(std::chrono::steady_clock::now());
  EXPECT_EQ(job->ended, EndClass::cancelled);
  auto late = std::make_shared<ScriptedJob>("t", [] { return Job::Step::finished; });
  scheduler->submit(late);
  EXPECT_TRUE(late->refused.load());
}

}  // namespace
}  // namespace alga::engine
