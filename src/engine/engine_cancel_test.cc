// Executions that are ended from outside, and host calls that outlive them.

#include <random>
#include <set>
#include <thread>

#include "engine/bridge.h"
#include "engine/testing.h"

namespace alga::engine {
namespace {

using domain::EndClass;
using testing::EngineTest;

/// Guests are freed after their answer: waits for the last one.
void expect_all_freed() {
  for (int i = 0; i < 2000 && ab_live_executions() != 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds{5});
  }
  EXPECT_EQ(ab_live_executions(), 0U);
}

std::size_t thread_count() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry :
       std::filesystem::directory_iterator("/proc/self/task")) {
    ++count;
  }
  return count;
}

TEST_F(EngineTest, EndsAWaitingGuestWhenItIsCancelledAndGivesItsCallBack) {
  auto component = load("fetch");
  ASSERT_TRUE(component);
  Started waiting = start(*component, invocation());
  ASSERT_TRUE(egress.wait_for(1));
  engine().cancel(waiting.ticket);
  EXPECT_EQ(waiting.outcome.get().end, EndClass::cancelled);
  expect_all_freed();
  EXPECT_EQ(egress.cancelled, 1);
  EXPECT_EQ(egress.answer_all(200), 1U) << "an answer may still come, and must be harmless";
  EXPECT_EQ(run("echo").end, EndClass::ok);
}

TEST_F(EngineTest, RefusesWhoWaitsAtOnceBeforeAShutdownAndRunsWhatFindsAPlace) {
  options.max_executions = 1;
  options.max_executions_per_tenant = 1;
  ASSERT_TRUE(options.limits.set_value(domain::Limit::queue_wait, 60'000));
  auto fetch = load("fetch");
  auto echo = load("echo");
  ASSERT_TRUE(fetch && echo);
  Started running = start(*fetch, invocation());
  ASSERT_TRUE(egress.wait_for(1));
  Started waiting = start(*echo, invocation());
  ASSERT_EQ(engine().current_load().waiting, 1U);
  engine().refuse_waiting();
  const Outcome refused = waiting.outcome.get();
  EXPECT_EQ(refused.end, EndClass::overload);
  EXPECT_TRUE(refused.stopping);
  EXPECT_EQ(engine().current_load().running, 1U) << "what runs goes on";
  EXPECT_TRUE(start(*echo, invocation()).outcome.get().stopping) << "nobody waits any more";
  egress.answer_all(200);
  EXPECT_EQ(running.outcome.get().end, EndClass::ok);
  while (engine().current_load().running != 0) std::this_thread::yield();
  EXPECT_EQ(start(*echo, invocation()).outcome.get().end, EndClass::ok) << "a place is free";
}

TEST_F(EngineTest, SurvivesAnAnswerThatComesAfterTheEngineIsGone) {
  auto component = load("fetch");
  ASSERT_TRUE(component);
  Started waiting = start(*component, invocation());
  ASSERT_TRUE(egress.wait_for(1));
  component = fail(Kind::internal, "internal.unexpected");  // lets go of it before the engine does
  close();
  EXPECT_EQ(waiting.outcome.get().end, EndClass::cancelled);
  EXPECT_EQ(egress.answer_all(200), 1U);
}

TEST_F(EngineTest, EndsExactlyOnceWhenAnAnswerAndACancellationRace) {
  auto component = load("fetch");
  ASSERT_TRUE(component);
  std::set<EndClass> seen;
  for (int i = 0; i < 300; ++i) {
    Started waiting = start(*component, invocation());
    ASSERT_TRUE(egress.wait_for(1));
    std::thread answer([&] { egress.answer_all(200); });
    if (i % 3 == 0) std::this_thread::yield();
    engine().cancel(waiting.ticket);
    Outcome outcome = waiting.outcome.get();
    answer.join();
    seen.insert(outcome.end);
    ASSERT_TRUE(outcome.end == EndClass::ok || outcome.end == EndClass::cancelled);
    if (outcome.end == EndClass::ok) ASSERT_EQ(outcome.response.body, "late");
  }
  EXPECT_TRUE(seen.contains(EndClass::cancelled));
  expect_all_freed();
}

TEST_F(EngineTest, EndsGuestsThatAreCancelledAtAnyMoment) {
  std::vector<std::shared_ptr<Component>> guests;
  for (const char* name : {"loop", "sleep", "fetch", "echo", "call-flood", "recurse"}) {
    auto loaded = load(name);
    ASSERT_TRUE(loaded) << name;
    guests.push_back(*loaded);
  }
  std::mt19937 random(20261121);  // NOLINT: the same moments each time
  std::atomic<bool> over{false};
  std::thread answers([&] {
    while (!over) {
      egress.answer_all(204);
      std::this_thread::sleep_for(std::chrono::microseconds{700});
    }
  });
  for (int round = 0; round < 30; ++round) {
    std::vector<Started> batch;
    for (int i = 0; i < 16; ++i) {
      batch.push_back(start(guests[random() % guests.size()],
                            invocation(random() % 2 == 0 ? "acme" : "other")));
    }
    std::ranges::shuffle(batch, random);
    for (Started& one : batch) {
      std::this_thread::sleep_for(std::chrono::microseconds{random() % 400});
      engine().cancel(one.ticket);
    }
    for (Started& one : batch) one.outcome.get();
    ASSERT_EQ(engine().current_load().waiting, 0U);
  }
  over = true;
  answers.join();
  egress.answer_all(200);
  expect_all_freed();
  // The last one's place is free a moment after its outcome was told.
  const SteadyTime patience = std::chrono::steady_clock::now() + std::chrono::seconds{10};
  while (engine().current_load().running != 0 && std::chrono::steady_clock::now() < patience) {
    std::this_thread::yield();
  }
  EXPECT_EQ(engine().current_load().running, 0U);
}

TEST_F(EngineTest, LetsRunningGuestsAnswerBeforeItStops) {
  auto component = load("fetch");
  ASSERT_TRUE(component);
  Started waiting = start(*component, invocation());
  ASSERT_TRUE(egress.wait_for(1));
  std::thread stopper(
      [&] { engine().stop(std::chrono::steady_clock::now() + std::chrono::seconds{20}); });
  std::this_thread::sleep_for(std::chrono::milliseconds{30});
  Outcome late = start(*component, invocation()).outcome.get();
  EXPECT_EQ(late.end, EndClass::overload) << "nothing new is taken while it stops";
  egress.answer_all(200);
  EXPECT_EQ(waiting.outcome.get().end, EndClass::ok);
  stopper.join();
}

TEST_F(EngineTest, WritesOffWhatStillRunsWhenItsTimeToStopIsOver) {
  auto component = load("loop");
  ASSERT_TRUE(component);
  Started busy = start(*component, invocation());
  engine().stop(std::chrono::steady_clock::now() + std::chrono::milliseconds{20});
  EXPECT_EQ(busy.outcome.get().end, EndClass::cancelled);
}

TEST_F(EngineTest, KeepsManyWaitingGuestsWithoutAThreadForEach) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || \
    __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
  constexpr std::uint32_t many = 100;  // sanitizers leave less room for address space
#else
  constexpr std::uint32_t many = 1000;
#endif
  options.max_executions = many;
  options.max_executions_per_tenant = many;
  options.max_executions_per_install = many;
  auto component = load("fetch");
  ASSERT_TRUE(component);
  start(*component, invocation());
  ASSERT_TRUE(egress.wait_for(1));
  const std::size_t threads = thread_count();
  std::vector<Started> waiting;
  for (std::uint32_t i = 1; i < many; ++i) waiting.push_back(start(*component, invocation()));
  ASSERT_TRUE(egress.wait_for(many));
  EXPECT_EQ(thread_count(), threads);
  EXPECT_EQ(egress.answer_all(200), many);
  for (Started& one : waiting) {
    Outcome outcome = one.outcome.get();
    ASSERT_EQ(outcome.end, EndClass::ok) << outcome.message;
    ASSERT_EQ(outcome.response.body, "late");
  }
  expect_all_freed();
}

}  // namespace
}  // namespace alga::engine
