#include "engine/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <thread>
#include <utility>

#include "base/clock.h"

namespace alga::engine {
namespace {

constexpr std::size_t most_errors = 4096;

/// What the child writes to fd 2 until that is closed, which it does by ending at the latest, or
/// until its time is over, or until `bell` can be read.
std::string read_errors(int fd, int bell, SteadyTime until) {
  std::string errors;
  while (true) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    if (left.count() <= 0) return errors;
    std::array<pollfd, 2> watched{{{fd, POLLIN, 0}, {bell, POLLIN, 0}}};
    const int ready = ::poll(watched.data(), watched.size(),
                             static_cast<int>(std::min<std::int64_t>(left.count(), 60'000)));
    if (ready < 0 && errno != EINTR) return errors;
    if (ready <= 0) continue;
    if (watched[1].revents != 0) return errors;
    std::array<char, 1024> buffer{};
    const ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return errors;
    const auto room = most_errors - errors.size();
    errors.append(buffer.data(), std::min(static_cast<std::size_t>(got), room));
  }
}

enum class Wait : std::uint8_t { ended, runs, lost };

/// Waits for its end, which follows the end of fd 2 at once unless it closed that itself. `lost`:
/// the kernel does not say how it ended, as SIGCHLD is ignored.
Wait wait_for(pid_t child, int& status, rusage& used, SteadyTime until,
              const std::stop_token& stop) {
  while (true) {
    const pid_t ended = ::wait4(child, &status, WNOHANG, &used);
    if (ended == child) return Wait::ended;
    if (ended < 0 && errno != EINTR) return Wait::lost;
    if (stop.stop_requested() || std::chrono::steady_clock::now() >= until) return Wait::runs;
    std::this_thread::sleep_for(std::chrono::milliseconds{1});
  }
}

std::chrono::microseconds processor_time(const rusage& used) {
  const auto both = [](const timeval& at) {
    return std::chrono::seconds{at.tv_sec} + std::chrono::microseconds{at.tv_usec};
  };
  return both(used.ru_utime) + both(used.ru_stime);
}

std::string processor_bound(std::chrono::milliseconds time) {
  const std::int64_t seconds = std::chrono::ceil<std::chrono::seconds>(time).count();
  return std::string(worker_cpu_variable) + '=' +
         std::to_string(std::max<std::int64_t>(1, seconds));
}

}  // namespace

bool ChildOutcome::interrupted() const {
  return exit_status < 0 && !spent && (timed_out || stopped || signal == SIGKILL);
}

File& File::operator=(File&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

File::~File() {
  if (fd_ >= 0) ::close(fd_);
}

Result<ChildOutcome> run_child(const std::filesystem::path& program,
                               const std::vector<std::string>& arguments, int input, int output,
                               ChildTime time, const std::vector<std::string>& environment,
                               const std::stop_token& stop) {
  const File bell{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  if (!bell.is_open()) {
    return fail(Kind::unavailable, "engine.unavailable", "no bell for a worker process");
  }
  const std::stop_callback ring(stop, [&bell] { ::eventfd_write(bell.fd(), 1); });
  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0) {
    return fail(Kind::unavailable, "engine.unavailable", "no pipe for a worker process");
  }
  File errors_out{pipe[0]};
  File errors_in{pipe[1]};

  std::vector<char*> argv;
  std::string name = program.string();
  argv.push_back(name.data());
  std::vector<std::string> copies = arguments;
  for (std::string& argument : copies) argv.push_back(argument.data());
  argv.push_back(nullptr);
  std::vector<std::string> variables = environment;
  variables.push_back(processor_bound(time.processor));
  std::vector<char*> envp;
  for (std::string& variable : variables) envp.push_back(variable.data());
  envp.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, input, 0);
  posix_spawn_file_actions_adddup2(&actions, output, 1);
  posix_spawn_file_actions_adddup2(&actions, errors_in.fd(), 2);
  posix_spawn_file_actions_addclosefrom_np(&actions, 3);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  sigset_t all;
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  pid_t child = 0;
  int failed = ::posix_spawn(&child, name.c_str(), &actions, &attributes, argv.data(), envp.data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (failed != 0) {
    return fail(Kind::unavailable, "engine.unavailable",
                std::string("cannot start a worker process: ") + std::strerror(failed));
  }
  errors_in = File{};

  ChildOutcome outcome;
  const SteadyTime until = std::chrono::steady_clock::now() + time.wall;
  outcome.errors = read_errors(errors_out.fd(), bell.fd(), until);
  int status = 0;
  rusage used{};
  Wait wait = wait_for(child, status, used, until, stop);
  if (wait == Wait::runs) {
    outcome.stopped = stop.stop_requested();
    outcome.timed_out = !outcome.stopped;
    ::kill(child, SIGKILL);
    wait = wait_for(child, status, used, SteadyTime::max(), {});
  }
  if (wait == Wait::lost) {
    return fail(Kind::unavailable, "engine.unavailable",
                "it is unknown how a worker process ended");
  }
  if (WIFEXITED(status)) outcome.exit_status = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) outcome.signal = WTERMSIG(status);
  outcome.spent = outcome.signal == SIGXCPU || processor_time(used) >= time.processor;
  return outcome;
}

}  // namespace alga::engine
