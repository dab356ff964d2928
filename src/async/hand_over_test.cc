#include "async/hand_over.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <cstddef>
#include <memory>
#include <thread>
#include <vector>

namespace alga::async {
namespace {

namespace asio = boost::asio;

TEST(HandOver, RunsEveryStepOfManyThreadsOnTheLoopAndKeepsTheOrderOfEachOne) {
  constexpr std::size_t kThreads = 4;
  constexpr int kSteps = 20'000;
  asio::io_context loop(1);
  auto work = asio::make_work_guard(loop);
  std::thread::id place;
  std::array<std::vector<int>, kThreads> seen;
  std::size_t arrived = 0;
  std::vector<std::jthread> threads;
  for (std::size_t thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (int step = 0; step < kSteps; ++step) {
        hand_over(loop.get_executor(), [&, thread, step] {
          EXPECT_EQ(std::this_thread::get_id(), place);
          seen[thread].push_back(step);
          if (++arrived == kThreads * kSteps) work.reset();
        });
      }
    });
  }
  place = std::this_thread::get_id();
  loop.run();
  for (const std::vector<int>& steps : seen) {
    ASSERT_EQ(steps.size(), static_cast<std::size_t>(kSteps));
    EXPECT_TRUE(std::ranges::is_sorted(steps));
  }
}

TEST(HandOver, WakesALoopThatHasNothingElseToDo) {
  asio::io_context loop(1);
  auto work = asio::make_work_guard(loop);
  std::jthread runs([&] { loop.run(); });
  for (int round = 0; round < 2'000; ++round) {
    std::atomic<bool> ran{false};
    hand_over(loop.get_executor(), [&] {
      ran = true;
      ran.notify_one();
    });
    ran.wait(false);
  }
  work.reset();
}

TEST(HandOver, LetsALoopEndAndBeginAgain) {
  asio::io_context loop(1);
  for (int round = 0; round < 3; ++round) {
    bool ran = false;
    auto work = asio::make_work_guard(loop);
    std::jthread([&] {
      hand_over(loop.get_executor(), [&ran, work = std::move(work)] { ran = true; });
    }).join();
    loop.run();
    EXPECT_TRUE(ran);
    loop.restart();
  }
}

TEST(HandOver, TakesStepsOfItsOwnThreadAfterTheOneThatRuns) {
  asio::io_context loop(1);
  auto work = asio::make_work_guard(loop);
  std::vector<int> order;
  asio::post(loop, [&] {
    hand_over(loop.get_executor(), [&] {
      order.push_back(2);
      work.reset();
    });
    order.push_back(1);
  });
  loop.run();
  EXPECT_EQ(order, (std::vector{1, 2}));
}

TEST(HandOver, DropsWhatALoopDidNotGetTo) {
  auto kept = std::make_shared<int>(1);
  {
    asio::io_context loop(1);
    auto work = asio::make_work_guard(loop);
    for (int step = 0; step < 3; ++step) {
      hand_over(loop.get_executor(), [kept] { FAIL() << "the loop never ran"; });
    }
    EXPECT_EQ(kept.use_count(), 4);
  }
  EXPECT_EQ(kept.use_count(), 1);
}

TEST(HandOver, LeavesTheOrderOfAStrandToIt) {
  asio::io_context loop(1);
  auto work = asio::make_work_guard(loop);
  const auto strand = asio::make_strand(loop);
  bool inside = false;
  hand_over(strand, [&] {
    inside = strand.running_in_this_thread();
    work.reset();
  });
  loop.run();
  EXPECT_TRUE(inside);
}

}  // namespace
}  // namespace alga::async
