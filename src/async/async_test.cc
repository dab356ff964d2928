#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <set>
#include <stdexcept>
#include <thread>

#include "async/await_callback.h"
#include "async/blocking_pool.h"
#include "async/deadline.h"
#include "async/gate.h"
#include "async/io_threads.h"
#include "async/spawn.h"

namespace alga::async {
namespace {

using namespace std::chrono_literals;

TEST(IoThreads, RunsEachContextOnAThreadOfItsOwn) {
  IoThreads threads(3, "test");
  std::set<std::thread::id> seen;
  for (std::size_t i = 0; i < threads.size(); ++i) {
    std::promise<std::thread::id> promise;
    auto future = promise.get_future();
    boost::asio::post(threads.at(i), [&] { promise.set_value(std::this_thread::get_id()); });
    seen.insert(future.get());
  }
  EXPECT_EQ(seen.size(), 3U);
}

TEST(IoThreads, HandsThemOutInTurn) {
  IoThreads threads(2, "test");
  auto* first = &threads.next();
  auto* second = &threads.next();
  EXPECT_NE(first, second);
  EXPECT_EQ(&threads.next(), first);
}

Task<std::pair<std::thread::id, std::thread::id>> where(BlockingPool* pool) {
  Result<std::thread::id> inside = co_await pool->run([] { return std::this_thread::get_id(); });
  co_return std::pair{inside.value(), std::this_thread::get_id()};
}

TEST(BlockingPool, RunsElsewhereAndComesBack) {
  BlockingPool pool(1, 4);
  auto [inside, after] = block_on(where(&pool));
  EXPECT_NE(inside, std::this_thread::get_id());
  EXPECT_EQ(after, std::this_thread::get_id());
}

Task<Result<int>> run_failing(BlockingPool* pool) {
  return pool->run([]() -> Result<int> { return fail(Kind::conflict, "test.conflict"); });
}
Task<Result<int>> run_throwing(BlockingPool* pool) {
  return pool->run([]() -> int { throw std::runtime_error("disk on fire"); });
}
Task<Result<void>> run_void(BlockingPool* pool, int* out) {
  return pool->run([out] { *out = 7; });
}

TEST(BlockingPool, PassesErrorsThroughAndConvertsExceptions) {
  BlockingPool pool(1, 4);
  EXPECT_EQ(block_on(run_failing(&pool)).error().code, "test.conflict");
  Error thrown = block_on(run_throwing(&pool)).error();
  EXPECT_EQ(thrown.code, "async.exception");
  EXPECT_EQ(thrown.message, "disk on fire");
  int out = 0;
  EXPECT_TRUE(block_on(run_void(&pool, &out)).has_value());
  EXPECT_EQ(out, 7);
}

TEST(BlockingPool, RefusesWhenTheQueueIsFull) {
  std::latch running(1);
  std::latch release(1);
  BlockingPool pool(1, 1);  // its thread uses the latches until the end
  ASSERT_TRUE(pool.submit([&] {
    running.count_down();
    release.wait();
  }));
  running.wait();
  ASSERT_TRUE(pool.submit([] {}));
  EXPECT_FALSE(pool.submit([] {}));
  Error refused = block_on(run_failing(&pool)).error();
  EXPECT_EQ(refused.code, "async.pool_full");
  EXPECT_EQ(refused.kind, Kind::unavailable);
  EXPECT_GT(refused.retry_after_s, 0U);
  release.count_down();
}

TEST(BlockingPool, FinishesWhatWaitsWhenItCloses) {
  std::atomic<int> done{0};
  BlockingPool pool(2, 100);
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(pool.submit([&] { ++done; }));
  pool.close();
  EXPECT_EQ(done, 50);
  EXPECT_FALSE(pool.submit([] {}));
}

TEST(BlockingPool, ALineHasItsShare) {
  constexpr std::size_t threads = 4, queued = 16;
  std::latch busy(3), release(1), other(1), unnamed(1), rest(4);
  BlockingPool pool(threads, queued);  // its threads use the latches until the end
  const BlockingPool::Share share = BlockingPool::usual_share(threads, queued);
  EXPECT_EQ(share.threads, 3U);
  EXPECT_EQ(share.queued, 4U);
  for (std::size_t i = 0; i < share.threads; ++i) {
    ASSERT_TRUE(pool.submit("slow", [&] {
      busy.count_down();
      release.wait();
    }));
  }
  busy.wait();
  for (std::size_t i = 0; i < share.queued; ++i) {
    ASSERT_TRUE(pool.submit("slow", [&] { rest.count_down(); }));
  }
  EXPECT_FALSE(pool.submit("slow", [] {})) << "its part of the queue is used up";
  EXPECT_EQ(pool.queued(), share.queued);
  // The fourth thread is for others, also for the line that has no name.
  ASSERT_TRUE(pool.submit("other", [&] { other.count_down(); }));
  other.wait();
  ASSERT_TRUE(pool.submit([&] { unnamed.count_down(); }));
  unnamed.wait();
  EXPECT_EQ(pool.queued(), share.queued) << "the line that has its threads got no other";
  release.count_down();
  rest.wait();
}

TEST(BlockingPool, LinesTakeTurns) {
  std::latch held(1);
  std::string order;  // written by one thread
  {
    BlockingPool pool(1, 100);
    ASSERT_TRUE(pool.submit([&] { held.wait(); }));
    for (const char* line : {"a", "a", "a", "b", "c", "b"}) {
      ASSERT_TRUE(pool.submit(line, [&order, line] { order += line; }));
    }
    held.count_down();
  }
  EXPECT_EQ(order, "abcaba");
}

TEST(BlockingPool, FinishesTheLinesToo) {
  std::atomic<int> done{0};
  BlockingPool pool(3, 400);
  for (int i = 0; i < 90; ++i) ASSERT_TRUE(pool.submit(i % 2 == 0 ? "a" : "b", [&] { ++done; }));
  pool.close();
  EXPECT_EQ(done, 90);
}

TEST(BlockingPool, OneThreadServesLinesToo) {
  EXPECT_EQ(BlockingPool::usual_share(1, 1).threads, 1U);
  EXPECT_EQ(BlockingPool::usual_share(1, 1).queued, 1U);
  std::latch done(1);
  BlockingPool pool(1, 1);
  ASSERT_TRUE(pool.submit("line", [&] { done.count_down(); }));
  done.wait();
}

Task<Result<int>> slow(bool* cancelled) {
  auto executor = co_await boost::asio::this_coro::executor;
  boost::asio::steady_timer timer(executor, 1h);
  try {
    co_await timer.async_wait(boost::asio::use_awaitable);
  } catch (const boost::system::system_error&) {
    *cancelled = true;
    throw;
  }
  co_return 1;
}
Task<Result<int>> quick(int value) { co_return value; }
Task<Result<int>> throwing() {
  throw std::runtime_error("oops");
  co_return 0;
}

TEST(WithDeadline, CancelsWhatTakesTooLong) {
  bool cancelled = false;
  auto outcome = block_on(with_deadline(slow(&cancelled), std::chrono::steady_clock::now() + 5ms));
  EXPECT_EQ(outcome.error().code, "async.deadline");
  EXPECT_EQ(outcome.error().kind, Kind::timeout);
  EXPECT_TRUE(cancelled);
}

TEST(WithDeadline, AnswersWhatIsQuick) {
  auto deadline = std::chrono::steady_clock::now() + 1h;
  EXPECT_EQ(block_on(with_deadline(quick(5), deadline)).value(), 5);
  EXPECT_EQ(block_on(with_deadline(throwing(), deadline)).error().message, "oops");
}

TEST(SleepUntil, FollowsTheClockItIsGiven) {
  ManualClock clock;
  boost::asio::io_context context;
  auto future = boost::asio::co_spawn(context, sleep_for(&clock, 1h), boost::asio::use_future);
  context.run_for(5ms);
  EXPECT_NE(future.wait_for(0s), std::future_status::ready);
  clock.advance(1h);
  context.run();
  future.get();
}

TEST(Gate, LetsNothingInOnceClosedAndWaitsForTheRest) {
  Gate gate;
  auto pass = gate.enter();
  ASSERT_TRUE(pass.has_value());
  gate.close();
  EXPECT_FALSE(gate.enter().has_value());
  EXPECT_EQ(gate.inside(), 1U);
  EXPECT_FALSE(gate.wait_empty(std::chrono::steady_clock::now() + 2ms));
  std::thread leaver([moved = std::move(*pass)] {});
  pass.reset();
  EXPECT_TRUE(gate.wait_empty(std::chrono::steady_clock::now() + 10s));
  leaver.join();
}

Task<Result<int>> await_from_thread() {
  Result<int> outcome = co_await await_callback<int>([](Callback<int> done) {
    std::thread([done = std::move(done)]() mutable { done(41); }).detach();
  });
  co_return outcome.value() + 1;
}

TEST(AwaitCallback, ResumesOnTheCallersExecutor) {
  EXPECT_EQ(block_on(await_from_thread()).value(), 42);
}

}  // namespace
}  // namespace alga::async
