#include "engine/admission.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace alga::engine {
namespace {

using Answer = Admission::Answer;

class NamedJob final : public Job {
 public:
  NamedJob(std::string tenant, std::string install)
      : tenant_(std::move(tenant)), install_(std::move(install)) {}
  [[nodiscard]] const std::string& tenant() const override { return tenant_; }
  [[nodiscard]] const std::string& install() const override { return install_; }
  bool start(std::chrono::microseconds) override { return true; }
  Step step() override { return Step::finished; }
  void end(domain::EndClass) override {}
  void conclude() override {}
  void refuse(Refusal) override {}
  [[nodiscard]] SteadyTime deadline() const override { return {}; }

 private:
  std::string tenant_, install_;
};

JobPtr job(const std::string& tenant, const std::string& install) {
  return std::make_shared<NamedJob>(tenant, install);
}

TEST(Admission, AnInstallThatWaitsHoldsUpNobodyElseOfItsTenant) {
  Admission places({.running_per_tenant = 3, .running_per_install = 1});
  EXPECT_EQ(places.ask(job("t", "slow"), true), Answer::admitted);
  const JobPtr second = job("t", "slow");
  ASSERT_EQ(places.ask(second, true), Answer::waits);
  EXPECT_EQ(places.ask(job("t", "slow"), false), Answer::install_full);
  const JobPtr other = job("t", "other");
  EXPECT_EQ(places.ask(other, true), Answer::admitted);
  places.leave(*other);
  EXPECT_EQ(places.next(), nullptr) << "a place of the tenant's is none of this install's";
  EXPECT_EQ(places.give_up(second), Answer::install_full);
  EXPECT_FALSE(places.anybody_waits("t"));
}

TEST(Admission, TheFloodOfAnInstallLeavesRoomToWaitToTheOthersOfItsTenant) {
  Admission places(
      {.running = 1, .running_per_tenant = 2, .waiting_per_tenant = 3, .waiting_per_install = 2});
  const JobPtr runs = job("t", "flood");
  EXPECT_EQ(places.ask(runs, true), Answer::admitted);
  std::vector<JobPtr> waiting;
  for (int i = 0; i < 2; ++i) {
    waiting.push_back(job("t", "flood"));
    EXPECT_EQ(places.ask(waiting.back(), true), Answer::waits);
  }
  EXPECT_EQ(places.ask(job("t", "flood"), true), Answer::install_full);
  waiting.push_back(job("t", "other"));
  EXPECT_EQ(places.ask(waiting.back(), true), Answer::waits);
  EXPECT_EQ(places.ask(job("t", "third"), true), Answer::tenant_full);
  EXPECT_EQ(places.waiting(), 3U);
  EXPECT_EQ(places.give_up_all(), waiting);
  EXPECT_EQ(places.waiting(), 0U);
  EXPECT_EQ(places.running(), 1U);
  places.leave(*runs);
  EXPECT_EQ(places.tenants(), 0U);
}

TEST(Admission, WhereTheTenantHasNoPlaceLeftThatIsWhatIsSaid) {
  Admission places({.running_per_tenant = 1, .running_per_install = 1, .waiting_per_install = 1});
  ASSERT_EQ(places.ask(job("t", "x"), true), Answer::admitted);
  ASSERT_EQ(places.ask(job("t", "x"), true), Answer::waits);
  EXPECT_EQ(places.ask(job("t", "x"), true), Answer::tenant_full) << "its line is full as well";
  EXPECT_EQ(places.ask(job("t", "y"), false), Answer::tenant_full);
}

TEST(Admission, PlacesGoRoundTheTenantsThatWaitAndRoundTheInstallsOfEach) {
  Admission places({.running = 1});
  JobPtr runs = job("first", "x");
  ASSERT_EQ(places.ask(runs, true), Answer::admitted);
  const std::vector<JobPtr> waiting{job("a", "x"), job("a", "x"), job("a", "y"),
                                    job("a", "y"), job("b", "z"), job("b", "z")};
  for (const JobPtr& one : waiting) ASSERT_EQ(places.ask(one, true), Answer::waits);
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < waiting.size(); ++i) {
    places.leave(*runs);
    runs = places.next();
    ASSERT_NE(runs, nullptr);
    order.push_back(static_cast<std::size_t>(std::ranges::find(waiting, runs) - waiting.begin()));
  }
  EXPECT_EQ(order, (std::vector<std::size_t>{0, 4, 2, 5, 1, 3}));
}

TEST(Admission, WhoIsSqueezedInTakesAPlaceThatThereIsNot) {
  Admission places({.running = 1});
  const JobPtr first = job("a", "x");
  const JobPtr second = job("b", "y");
  const JobPtr third = job("c", "z");
  ASSERT_EQ(places.ask(first, true), Answer::admitted);
  ASSERT_EQ(places.ask(second, true), Answer::waits);
  ASSERT_EQ(places.ask(third, true), Answer::waits);
  places.squeeze_in(second);
  EXPECT_EQ(places.running(), 2U);
  EXPECT_EQ(places.waiting(), 1U);
  places.leave(*first);
  EXPECT_EQ(places.next(), nullptr) << "only what was too much is gone";
  places.leave(*second);
  EXPECT_EQ(places.next(), third);
}

/// Who runs and who waits, kept by the test.
struct Crowd {
  std::vector<JobPtr> running, waiting;
  [[nodiscard]] std::size_t count(const std::vector<JobPtr>& of, const Job& like, bool install) {
    return static_cast<std::size_t>(std::ranges::count_if(of, [&](const JobPtr& one) {
      return one->tenant() == like.tenant() && (!install || one->install() == like.install());
    }));
  }
  JobPtr take(std::vector<JobPtr>& of, std::size_t which) {
    JobPtr out = of[which % of.size()];
    std::erase(of, out);
    return out;
  }
};

TEST(Admission, NobodyWaitsWhomTheBoundsAllowAndNobodyIsLost) {
  const Admission::Bounds bounds{.running = 6,
                                 .running_per_tenant = 3,
                                 .running_per_install = 2,
                                 .waiting = 12,
                                 .waiting_per_tenant = 6,
                                 .waiting_per_install = 4};
  Admission places(bounds);
  Crowd crowd;
  std::mt19937 random(7);  // NOLINT: the same moves each time
  std::map<Answer, int> seen;
  for (int move = 0; move < 20'000; ++move) {
    const unsigned what = random() % 10;
    if (what < 5) {
      const JobPtr one = job(std::string(1, static_cast<char>('a' + random() % 3)),
                             std::string(1, static_cast<char>('x' + random() % 3)));
      const bool may_wait = random() % 8 != 0;
      const bool room = crowd.running.size() < bounds.running &&
                        crowd.count(crowd.running, *one, false) < bounds.running_per_tenant &&
                        crowd.count(crowd.running, *one, true) < bounds.running_per_install;
      const bool line = may_wait && crowd.waiting.size() < bounds.waiting &&
                        crowd.count(crowd.waiting, *one, false) < bounds.waiting_per_tenant &&
                        crowd.count(crowd.waiting, *one, true) < bounds.waiting_per_install;
      const Answer answer = places.ask(one, may_wait);
      ++seen[answer];
      ASSERT_EQ(answer == Answer::admitted, room);
      ASSERT_EQ(answer == Answer::waits, !room && line);
      if (answer == Answer::admitted) crowd.running.push_back(one);
      if (answer == Answer::waits) crowd.waiting.push_back(one);
    } else if (what < 8 && !crowd.running.empty()) {
      places.leave(*crowd.take(crowd.running, random()));
      if (const JobPtr one = places.next()) {
        ASSERT_EQ(std::erase(crowd.waiting, one), 1U);
        crowd.running.push_back(one);
      }
      ASSERT_EQ(places.next(), nullptr) << "one place, one who gets it";
      for (const JobPtr& one : crowd.waiting) {
        ASSERT_TRUE(crowd.running.size() >= bounds.running ||
                    crowd.count(crowd.running, *one, false) >= bounds.running_per_tenant ||
                    crowd.count(crowd.running, *one, true) >= bounds.running_per_install);
      }
    } else if (what == 8 && !crowd.waiting.empty()) {
      (void)places.give_up(crowd.take(crowd.waiting, random()));
    } else if (what == 9 && !crowd.waiting.empty()) {
      const JobPtr one = crowd.take(crowd.waiting, random());
      places.squeeze_in(one);
      crowd.running.push_back(one);
    }
    ASSERT_EQ(places.running(), crowd.running.size());
    ASSERT_EQ(places.waiting(), crowd.waiting.size());
    for (const JobPtr& one : crowd.waiting) ASSERT_TRUE(places.waits(*one));
  }
  EXPECT_EQ(seen.size(), 5U) << "each answer was given";
  for (const JobPtr& one : crowd.running) places.leave(*one);
  for (const JobPtr& one : places.give_up_all()) ASSERT_EQ(std::erase(crowd.waiting, one), 1U);
  EXPECT_TRUE(crowd.waiting.empty());
  EXPECT_EQ(places.tenants(), 0U) << "nothing is kept of those who are gone";
}

}  // namespace
}  // namespace alga::engine
