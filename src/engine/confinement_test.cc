#include "engine/confinement.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <functional>
#include <string>
#include <thread>
#include <utility>

namespace alga::engine {
namespace {

constexpr WorkerBounds bounds{.address_space = 0, .cpu_s = 60, .file_bytes = 1 << 20};

/// Runs `attempt` in a process of its own that is confined; true when it returned true.
bool confined(const std::function<bool()>& attempt) {
  const pid_t child = ::fork();
  if (child == 0) {
    const bool ok = confine_worker(bounds) && attempt();
    ::_exit(ok ? 0 : 1);
  }
  int status = 0;
  return ::waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/// Whether a system call came back with this error.
bool refused(long answer, int error = EPERM) { return answer == -1 && errno == error; }

TEST(Confinement, LeavesComputingReadingAndThreads) {
#if __has_feature(thread_sanitizer)
  GTEST_SKIP() << "SKIPPED: threads of this sanitizer do what a worker may not";
#endif
  EXPECT_TRUE(confined([] {
    bool ran = false;
    std::thread([&ran] { ran = true; }).join();
    const int file = ::open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    char byte = 0;
    return ran && file >= 0 && ::read(file, &byte, 1) == 1 && std::string(1 << 20, 'x').size() > 0;
  }));
}

TEST(Confinement, RefusesFilesThatItWouldMakeOrChange) {
  std::string name = ::testing::TempDir() + "confinement-XXXXXX";
  const std::string folder = ::mkdtemp(name.data());
  const std::string there = folder + "/there";
  const std::string made = folder + "/made";
  ASSERT_GE(::close(::open(there.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600)), 0);
  const char* old = there.c_str();
  const char* fresh = made.c_str();
  const auto openat2 = [&] {
    const open_how how{.flags = O_WRONLY, .mode = 0, .resolve = 0};
    return ::syscall(SYS_openat2, AT_FDCWD, old, &how, sizeof how);
  };
  const std::pair<const char*, std::function<bool()>> attempts[] = {
      {"open to write", [&] { return refused(::open(old, O_WRONLY | O_CLOEXEC)); }},
      {"open to read and write", [&] { return refused(::open(old, O_RDWR | O_CLOEXEC)); }},
      {"open and make",
       [&] { return refused(::open(fresh, O_RDONLY | O_CREAT | O_CLOEXEC, 0600)); }},
      {"open and cut", [&] { return refused(::open(old, O_RDONLY | O_TRUNC | O_CLOEXEC)); }},
      {"open without a name",
       [&] { return refused(::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)); }},
      {"the older open", [&] { return refused(::syscall(SYS_open, old, O_WRONLY)); }},
      {"the newer open", [&] { return refused(openat2(), ENOSYS); }},
      {"creat", [&] { return refused(::syscall(SYS_creat, fresh, 0600)); }},
      {"mkdir", [&] { return refused(::mkdir(fresh, 0700)); }},
      {"link", [&] { return refused(::link(old, fresh)); }},
      {"symlink", [&] { return refused(::symlink(old, fresh)); }},
      {"rename", [&] { return refused(::rename(old, fresh)); }},
      {"unlink", [&] { return refused(::unlink(old)); }},
      {"truncate", [&] { return refused(::truncate(old, 0)); }},
      {"chmod", [&] { return refused(::chmod(old, 0777)); }},
  };
  for (const auto& [what, attempt] : attempts) EXPECT_TRUE(confined(attempt)) << what;
  ::unlink(old);
  EXPECT_EQ(::rmdir(folder.c_str()), 0) << "something was made";
}

TEST(Confinement, RefusesOtherProcessesAndMachines) {
  const std::pair<const char*, std::function<bool()>> attempts[] = {
      {"socket", [] { return refused(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)); }},
      {"fork", [] { return refused(::fork()); }},
      {"clone3", [] { return refused(::syscall(SYS_clone3, nullptr, 0), ENOSYS); }},
      {"execve",
       [] {
         char program[] = "/bin/true";
         char* arguments[] = {program, nullptr};
         return refused(::execv(program, arguments));
       }},
      {"kill", [] { return refused(::kill(::getppid(), 0)); }},
      {"ptrace", [] { return refused(::ptrace(PTRACE_ATTACH, ::getppid(), nullptr, nullptr)); }},
      {"unshare", [] { return refused(::syscall(SYS_unshare, 0)); }},
  };
  for (const auto& [what, attempt] : attempts) EXPECT_TRUE(confined(attempt)) << what;
}

TEST(Confinement, EndsWhenItsProcessorTimeIsUsedUpWithASignalOfItsOwn) {
  const pid_t child = ::fork();
  if (child == 0) {
    constexpr WorkerBounds brief{.address_space = 0, .cpu_s = 1, .file_bytes = 1 << 20};
    if (!confine_worker(brief)) ::_exit(1);
    for (volatile unsigned spin = 0;; spin = spin + 1) {
    }
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGXCPU) << "SIGKILL would be somebody else's";
}

}  // namespace
}  // namespace alga::engine
