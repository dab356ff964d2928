#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

/// Real servers beside a test.
namespace alga::testing {

/// The program named by the environment variable, else `name` on the PATH; none when there is
/// neither, and the test skips.
[[nodiscard]] inline std::optional<std::string> find_program(const char* variable,
                                                             const std::string& name) {
  if (const char* given = std::getenv(variable); given != nullptr && *given != '\0') return given;
  const char* path = std::getenv("PATH");
  std::istringstream folders(path != nullptr ? path : "");
  for (std::string folder; std::getline(folders, folder, ':');) {
    const std::string program = folder + '/' + name;
    if (::access(program.c_str(), X_OK) == 0) return program;
  }
  return std::nullopt;
}

/// A loopback port that nobody listens on. It is none of those that the kernel gives to outgoing
/// connections and to port 0, so nobody takes it by chance before the program that it is for.
[[nodiscard]] inline std::uint16_t free_port() {
  unsigned lowest_given = 0;
  std::ifstream("/proc/sys/net/ipv4/ip_local_port_range") >> lowest_given;
  const unsigned highest = lowest_given > 12'000 ? lowest_given - 1 : 65'535;
  std::random_device random;
  std::uniform_int_distribution<unsigned> ports(highest > 22'000 ? highest - 20'000 : 2'000,
                                                highest);
  for (int attempt = 0; attempt < 1000; ++attempt) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<std::uint16_t>(ports(random)));
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool bound = ::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    ::close(fd);
    if (bound) return ntohs(address.sin_port);
  }
  throw std::runtime_error("no free port");
}

/// A child process with its output in a file. Killed and waited for at the end, and by the kernel
/// when this process dies.
class ChildProcess {
 public:
  ChildProcess(std::vector<std::string> command, const std::filesystem::path& log,
               std::vector<std::pair<std::string, std::string>> environment = {}) {
    std::vector<char*> arguments;
    for (std::string& argument : command) arguments.push_back(argument.data());
    arguments.push_back(nullptr);
    pid_ = ::fork();
    if (pid_ < 0) throw std::runtime_error("fork");
    if (pid_ > 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    ::dup2(out, STDOUT_FILENO);
    ::dup2(out, STDERR_FILENO);
    for (const auto& [name, value] : environment) ::setenv(name.c_str(), value.c_str(), 1);
    ::execv(arguments[0], arguments.data());
    ::_exit(127);
  }
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;
  ~ChildProcess() { stop(); }

  /// SIGKILL, at once.
  void stop() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  [[nodiscard]] bool running() {
    if (pid_ > 0 && ::waitpid(pid_, nullptr, WNOHANG) == pid_) pid_ = -1;
    return pid_ > 0;
  }

  /// Calls `ready` until it says yes; false when the process has ended or a minute is over.
  template <class Ready>
  [[nodiscard]] bool wait_until(Ready ready) {
    for (int i = 0; i < 1200; ++i) {
      if (!running()) return false;
      if (ready()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    return false;
  }

 private:
  pid_t pid_ = -1;
};

}  // namespace alga::testing
