// Jobs of every temper, woken and ended at any moment, with and without a shutdown in between: each
// is told its end exactly once, and nothing is called out of turn.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "engine/scheduler.h"

namespace alga::engine {
namespace {

using domain::EndClass;
using std::chrono::microseconds;
using std::chrono::milliseconds;

/// What went wrong, by kind; all of it counted by the jobs of a test.
struct Faults {
  std::atomic<int> overlaps{0}, after_the_end{0}, ended_twice{0}, concluded_without_end{0};
};

/// Does as its random numbers say, and watches how it is treated.
class MoodyJob final : public Job {
 public:
  MoodyJob(std::string tenant, std::string install, std::uint32_t seed, Faults& faults)
      : tenant_(std::move(tenant)), install_(std::move(install)), random_(seed), faults_(faults) {}
  [[nodiscard]] const std::string& tenant() const override { return tenant_; }
  [[nodiscard]] const std::string& install() const override { return install_; }

  bool start(microseconds) override {
    const Turn turn(*this);
    deadline_ = std::chrono::steady_clock::now() + milliseconds{draw(30)};
    if (draw(20) != 0) return true;
    note_end();
    return false;
  }
  Step step() override {
    const Turn turn(*this);
    if (draw(3) == 0) std::this_thread::sleep_for(microseconds{draw(300)});
    const std::uint32_t mood = draw(10);
    if (mood < 4) return Step::again;
    if (mood < 7) return Step::wait;
    note_end();
    return Step::finished;
  }
  void end(EndClass) override {
    const Turn turn(*this);
    note_end();
  }
  void conclude() override {
    const Turn turn(*this, Turn::Last::yes);
    if (!over_.load()) ++faults_.concluded_without_end;
    if (draw(5) == 0) std::this_thread::sleep_for(microseconds{draw(3000)});
    ++told;
  }
  void refuse(Refusal) override {
    const Turn turn(*this, Turn::Last::yes);
    ++told;
  }
  [[nodiscard]] SteadyTime deadline() const override { return deadline_; }

  std::atomic<int> told{0};

 private:
  /// One call of the scheduler.
  class Turn {
   public:
    enum class Last : bool { no, yes };
    explicit Turn(MoodyJob& job, Last last = Last::no) : job_(job) {
      if (job_.busy_.exchange(true)) ++job_.faults_.overlaps;
      const bool late = last == Last::yes ? job_.told.load() != 0 : job_.over_.load();
      if (late) ++job_.faults_.after_the_end;
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    ~Turn() { job_.busy_ = false; }

   private:
    MoodyJob& job_;
  };
  std::uint32_t draw(std::uint32_t most) { return random_() % most; }
  void note_end() {
    if (over_.exchange(true)) ++faults_.ended_twice;
  }

  const std::string tenant_, install_;
  std::minstd_rand random_;  // not locked: TSan tells when two calls overlap
  Faults& faults_;
  std::atomic<bool> busy_{false}, over_{false};
  SteadyTime deadline_{};
};

Scheduler::Options narrow() {
  Scheduler::Options options;
  options.threads = 3;
  options.places = {.running = 12,
                    .running_per_tenant = 5,
                    .running_per_install = 2,
                    .waiting = 40,
                    .waiting_per_tenant = 20,
                    .waiting_per_install = 8};
  options.queue_wait = milliseconds{5};
  return options;
}

class SchedulerStorm : public ::testing::TestWithParam<bool> {};

/// Submits the jobs and now and then ends or wakes some of them.
void stir(Scheduler& scheduler, std::span<const std::shared_ptr<MoodyJob>> jobs, std::size_t seed,
          std::atomic<std::size_t>& submitted) {
  std::minstd_rand random(static_cast<std::uint32_t>(seed) + 77);
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    scheduler.submit(jobs[i]);
    ++submitted;
    const auto recent = [&]() -> Job& {
      return *jobs[i - random() % std::min<std::size_t>(i + 1, 8)];
    };
    if (random() % 2 == 0) scheduler.end(recent(), EndClass::cancelled);
    for (std::uint32_t wakes = random() % 3; wakes > 0; --wakes) scheduler.wake(recent());
    if (random() % 3 == 0) std::this_thread::sleep_for(microseconds{random() % 300});
  }
}

TEST_P(SchedulerStorm, EachJobIsToldItsEndOnce) {
  constexpr std::size_t threads = 3, jobs_each = 400;
  const bool stops_early = GetParam();
  Faults faults;
  std::vector<std::shared_ptr<MoodyJob>> jobs;
  for (std::uint32_t i = 0; i < threads * jobs_each; ++i) {
    jobs.push_back(std::make_shared<MoodyJob>("tenant-" + std::to_string(i % 4),
                                              "install-" + std::to_string(i % 3), i + 1, faults));
  }
  std::atomic<std::size_t> submitted = 0;
  {
    Scheduler scheduler(narrow(), [] {}, [](Scheduler::Load) {});
    std::vector<std::thread> crowd;
    for (std::size_t t = 0; t < threads; ++t) {
      crowd.emplace_back([&, t] {
        stir(scheduler, std::span(jobs).subspan(t * jobs_each, jobs_each), t, submitted);
      });
    }
    if (stops_early) {
      while (submitted < threads * jobs_each / 2) std::this_thread::yield();
      scheduler.refuse_waiting();
      scheduler.stop(std::chrono::steady_clock::now() + milliseconds{3});
    }
    for (std::thread& one : crowd) one.join();
    // What waits for nothing that comes ends at its wall time.
    const SteadyTime patience = std::chrono::steady_clock::now() + std::chrono::seconds{20};
    while (scheduler.load() != Scheduler::Load{} && std::chrono::steady_clock::now() < patience) {
      std::this_thread::sleep_for(milliseconds{1});
    }
    EXPECT_EQ(scheduler.load(), Scheduler::Load{});
  }
  std::array<std::size_t, 3> told{};
  for (const auto& job : jobs) ++told[static_cast<std::size_t>(std::min(job->told.load(), 2))];
  EXPECT_EQ(told[1], jobs.size()) << told[0] << " were never told, " << told[2] << " twice";
  EXPECT_EQ(faults.overlaps, 0);
  EXPECT_EQ(faults.after_the_end, 0);
  EXPECT_EQ(faults.ended_twice, 0);
  EXPECT_EQ(faults.concluded_without_end, 0);
  for (const auto& job : jobs) EXPECT_EQ(job.use_count(), 1) << "nobody keeps it";
}

INSTANTIATE_TEST_SUITE_P(WithAndWithoutAShutdown, SchedulerStorm, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "Stopped" : "Calm"; });

}  // namespace
}  // namespace alga::engine
