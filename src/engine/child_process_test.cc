#include "engine/child_process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <filesystem>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>

namespace alga::engine {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

Result<ChildOutcome> shell(const std::string& script, milliseconds wall,
                           milliseconds processor = std::chrono::minutes{1},
                           const std::stop_token& stop = {}) {
  const File nothing{::open("/dev/null", O_RDWR | O_CLOEXEC)};
  return run_child("/bin/sh", {"-c", script}, nothing.fd(), nothing.fd(), {processor, wall},
                   {"PATH=/usr/bin:/bin"}, stop);
}

/// Runs a child that makes a file and sleeps `then`, and asks for its end once the file is there.
Result<ChildOutcome> stopped_shell(const std::string& then) {
  std::string file = std::filesystem::temp_directory_path() / "alga-child.XXXXXX";
  const File made{::mkstemp(file.data())};
  std::stop_source stop;
  std::jthread asks([&] {
    while (std::filesystem::file_size(file) == 0) std::this_thread::sleep_for(milliseconds{1});
    stop.request_stop();
  });
  auto outcome = shell("echo here >" + file + "; " + then, std::chrono::hours{1},
                       std::chrono::minutes{1}, stop.get_token());
  asks.join();
  std::filesystem::remove(file);
  return outcome;
}

TEST(ChildProcess, TellsHowItEndedAndWhatItSaid) {
  const auto outcome = shell("echo 'code: message' >&2; exit 3", seconds{20});
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->exit_status, 3);
  EXPECT_EQ(outcome->signal, 0);
  EXPECT_FALSE(outcome->timed_out);
  EXPECT_EQ(outcome->errors, "code: message\n");
}

TEST(ChildProcess, TellsTheSignalThatEndedIt) {
  const auto outcome = shell("kill -9 $$", seconds{20});
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->exit_status, -1);
  EXPECT_EQ(outcome->signal, 9);
  EXPECT_FALSE(outcome->timed_out);
}

TEST(ChildProcess, KeepsFourKibibytesOfWhatItSaid) {
  const auto outcome = shell("head -c 10000 /dev/zero >&2", seconds{20});
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->exit_status, 0);
  EXPECT_EQ(outcome->errors.size(), 4096U);
}

TEST(ChildProcess, IsKilledWhenItsTimeIsOver) {
  const auto outcome = shell("exec sleep 600", milliseconds{100});
  ASSERT_TRUE(outcome);
  EXPECT_TRUE(outcome->timed_out);
  EXPECT_EQ(outcome->signal, 9);
}

TEST(ChildProcess, IsKilledThenAlsoIfItWillNotBeHeard) {
  const auto began = std::chrono::steady_clock::now();
  const auto outcome = shell("exec sleep 600 2>&-", milliseconds{100});
  ASSERT_TRUE(outcome);
  EXPECT_TRUE(outcome->timed_out);
  EXPECT_EQ(outcome->signal, 9);
  EXPECT_LT(std::chrono::steady_clock::now() - began, seconds{60});
}

TEST(ChildProcess, IsToldItsProcessorTimeInWholeSeconds) {
  const std::pair<milliseconds, const char*> times[] = {{milliseconds{1}, "1"},
                                                        {milliseconds{1000}, "1"},
                                                        {milliseconds{1001}, "2"},
                                                        {milliseconds{120'000}, "120"}};
  for (const auto& [time, told] : times) {
    const auto outcome = shell("echo $ALGA_WORKER_CPU >&2", seconds{20}, time);
    ASSERT_TRUE(outcome);
    EXPECT_EQ(outcome->errors, std::string(told) + "\n");
  }
}

TEST(ChildProcess, ThatUsedUpItsProcessorTimeIsNotTriedAgain) {
  const char* spin = "ulimit -S -t $ALGA_WORKER_CPU; while :; do :; done";
  const auto outcome = shell(spin, std::chrono::minutes{2}, seconds{1});
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->exit_status, -1);
  EXPECT_TRUE(outcome->spent);
  EXPECT_FALSE(outcome->timed_out);
  EXPECT_FALSE(outcome->interrupted());
}

TEST(ChildProcess, ThatSpentItsTimeBeforeTheClockRanOutIsNotTriedAgain) {
  // It does not bound itself, so that only the count of its processor time can tell.
  const auto outcome = shell("while :; do :; done", seconds{3}, milliseconds{20});
  ASSERT_TRUE(outcome);
  EXPECT_TRUE(outcome->timed_out);
  EXPECT_TRUE(outcome->spent);
  EXPECT_FALSE(outcome->interrupted());
}

TEST(ChildProcess, ThatDidNotGetOnMayBeTriedAgain) {
  const auto outcome = shell("exec sleep 600", milliseconds{100});
  ASSERT_TRUE(outcome);
  EXPECT_FALSE(outcome->spent);
  EXPECT_TRUE(outcome->interrupted());
}

TEST(ChildProcess, ThatSomebodyKilledMayBeTriedAgain) {
  EXPECT_TRUE(shell("kill -9 $$", seconds{20})->interrupted());
  EXPECT_FALSE(shell("kill -6 $$", seconds{20})->interrupted()) << "it gave up itself";
  EXPECT_FALSE(shell("exit 1", seconds{20})->interrupted());
  EXPECT_FALSE(shell("exit 0", seconds{20})->interrupted());
}

TEST(ChildProcess, IsKilledWhenWhoRanItStops) {
  const auto heard = stopped_shell("exec sleep 3600");
  const auto unheard = stopped_shell("exec sleep 3600 2>&-");
  for (const auto& outcome : {heard, unheard}) {
    ASSERT_TRUE(outcome);
    EXPECT_TRUE(outcome->stopped);
    EXPECT_FALSE(outcome->timed_out);
    EXPECT_EQ(outcome->signal, 9);
    EXPECT_TRUE(outcome->interrupted()) << "another attempt may succeed";
  }
}

TEST(ChildProcess, DoesNotOutliveAStopThatCameBeforeIt) {
  std::stop_source stop;
  stop.request_stop();
  const auto outcome =
      shell("exec sleep 3600", std::chrono::hours{1}, std::chrono::minutes{1}, stop.get_token());
  ASSERT_TRUE(outcome);
  EXPECT_TRUE(outcome->stopped);
}

TEST(ChildProcess, MayEndSomeTimeAfterItsLastWord) {
  const auto outcome = shell("echo word >&2; exec 2>&-; sleep 0.1; exit 4", seconds{20});
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->exit_status, 4);
  EXPECT_FALSE(outcome->timed_out);
  EXPECT_EQ(outcome->errors, "word\n");
}

TEST(ChildProcess, OfUnknownEndIsNoSuccess) {
  struct sigaction before{}, ignored{};
  ignored.sa_handler = SIG_IGN;  // as a server inherits it from some supervisors
  ASSERT_EQ(::sigaction(SIGCHLD, &ignored, &before), 0);
  const auto outcome = shell("exit 3", seconds{20});
  ASSERT_EQ(::sigaction(SIGCHLD, &before, nullptr), 0);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, "engine.unavailable");
}

TEST(ChildProcess, OfNoProgramIsAnError) {
  const File nothing{::open("/dev/null", O_RDWR | O_CLOEXEC)};
  const auto outcome =
      run_child("/nonexistent/program", {}, nothing.fd(), nothing.fd(), patient(seconds{1}));
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, "engine.unavailable");
}

}  // namespace
}  // namespace alga::engine
