#pragma once

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "sql/database.h"

namespace alga::sql::testing {

/// A PostgreSQL of one's own for a test: a fresh cluster in a temporary folder that listens on a
/// Unix socket there and nowhere else. Ends and vanishes with the object. PostgreSQL refuses to run
/// as root, so root hands it to the user `postgres` or `nobody`.
class PostgresServer {
 public:
  /// None, with the reason on stderr, when the server's programs are not on this machine.
  static std::unique_ptr<PostgresServer> start() {
    const std::string bin = programs();
    if (bin.empty()) {
      std::fprintf(stderr,
                   "SKIPPED LOUDLY: no initdb and postgres here, nothing ran on PostgreSQL\n");
      return nullptr;
    }
    auto server = std::unique_ptr<PostgresServer>(new PostgresServer(bin));
    if (server->boot()) return server;
    std::fprintf(stderr, "SKIPPED LOUDLY: PostgreSQL did not start, it said why in its log\n");
    return nullptr;
  }

  PostgresServer(const PostgresServer&) = delete;
  PostgresServer& operator=(const PostgresServer&) = delete;
  ~PostgresServer() {
    stop();
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  [[nodiscard]] std::string address(const std::string& database = "postgres") const {
    return "postgresql:///" + database + "?host=" + folder_ + "&user=alga";
  }
  /// The address of a new empty database.
  [[nodiscard]] std::string fresh_database() {
    std::string name = "t" + std::to_string(next_++);
    auto admin = open_database(address(), 1);
    ALGA_CHECK(admin.has_value());
    Status made = (*admin)->read([&](Executor& sql) -> Status {
      TRY_VOID(sql.script("CREATE DATABASE " + name));
      return {};
    });
    ALGA_CHECK(made.has_value());
    return address(name);
  }

  void stop() {
    if (process_ <= 0) return;
    kill(process_, SIGINT);  // "fast shutdown": ends its sessions
    waitpid(process_, nullptr, 0);
    process_ = -1;
  }
  void crash() {
    if (process_ <= 0) return;
    kill(process_, SIGQUIT);  // "immediate shutdown": recovery at the next start
    waitpid(process_, nullptr, 0);
    process_ = -1;
  }
  bool restart() {
    process_ =
        spawn({bin_ + "/postgres", "-D", folder_ + "/data", "-k", folder_, "-c",
               "listen_addresses=", "-c", "max_connections=50", "-c", "log_min_messages=panic",
               "-c", "max_wal_size=128MB", "-c", "min_wal_size=32MB"});
    for (int i = 0; i < 300; ++i) {
      auto database = open_database(address(), 1);
      if (database && (*database)->probe()) return true;
      if (waitpid(process_, nullptr, WNOHANG) == process_) {
        process_ = -1;
        return false;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds{50});
    }
    return false;
  }

 private:
  /// The folder of initdb and postgres: the one that ALGA_POSTGRES_BIN names, or a usual one.
  static std::string programs() {
    const char* named = std::getenv("ALGA_POSTGRES_BIN");
    std::vector<std::string> folders{"/usr/lib/postgresql/15/bin", "/usr/local/bin", "/usr/bin"};
    if (named != nullptr) folders = {named};
    for (const std::string& folder : folders) {
      if (access((folder + "/initdb").c_str(), X_OK) == 0 &&
          access((folder + "/postgres").c_str(), X_OK) == 0) {
        return folder;
      }
    }
    return {};
  }

  explicit PostgresServer(std::string bin) : bin_(std::move(bin)) {
    std::string pattern = (place() / ("alga-pg-" + std::to_string(getpid()) + "-XXXXXX")).string();
    remove_orphans();
    ALGA_CHECK(mkdtemp(pattern.data()) != nullptr);
    folder_ = pattern;
    if (geteuid() == 0) {
      for (const char* name : {"postgres", "nobody"}) {
        if (passwd* user = getpwnam(name); user != nullptr) {
          uid_ = user->pw_uid;
          gid_ = user->pw_gid;
          break;
        }
      }
      ALGA_CHECK(chown(folder_.c_str(), uid_, gid_) == 0);
    }
  }

  /// In memory where there is enough: a cluster with a database for each test is tens of thousands
  /// of files, and a slow disk takes minutes to make and remove them.
  static std::filesystem::path place() {
    constexpr std::uintmax_t needed = std::uintmax_t{2} << 30U;
    std::error_code none;
    const auto memory = std::filesystem::space("/dev/shm", none);
    if (!none && memory.available >= needed) return "/dev/shm";
    return std::filesystem::temp_directory_path();
  }

  /// A test that was killed could not remove its cluster: those of processes that are gone go now.
  static void remove_orphans() {
    std::error_code none;
    for (const auto& entry : std::filesystem::directory_iterator(place(), none)) {
      constexpr std::string_view prefix = "alga-pg-";
      const std::string name = entry.path().filename().string();
      if (!name.starts_with(prefix)) continue;
      const auto owner = static_cast<pid_t>(std::atol(name.c_str() + prefix.size()));
      if (owner <= 0 || kill(owner, 0) == 0 || errno != ESRCH) continue;
      std::filesystem::remove_all(entry.path(), none);
    }
  }

  bool boot() {
    pid_t init = spawn({bin_ + "/initdb", "-D", folder_ + "/data", "-U", "alga", "-A", "trust",
                        "-N", "--no-locale", "-E", "UTF8"});
    int status = 0;
    waitpid(init, &status, 0);
    return status == 0 && restart();
  }

  pid_t spawn(std::vector<std::string> arguments) {
    pid_t child = fork();
    ALGA_CHECK(child >= 0);
    if (child > 0) return child;
    if (geteuid() == 0) {
      if (setgroups(0, nullptr) != 0 || setgid(gid_) != 0 || setuid(uid_) != 0) _exit(125);
    }
    if (chdir(folder_.c_str()) != 0) _exit(126);
    // A test that aborts must not leave a server behind, nor one that holds the test's pipes open.
    prctl(PR_SET_PDEATHSIG, SIGQUIT);
    int log = open((folder_ + "/server.log").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    std::vector<char*> raw;
    for (std::string& argument : arguments) raw.push_back(argument.data());
    raw.push_back(nullptr);
    execv(raw[0], raw.data());
    _exit(127);
  }

  std::string bin_, folder_;
  pid_t process_ = -1;
  uid_t uid_ = 0;
  gid_t gid_ = 0;
  std::atomic<int> next_{0};
};

}  // namespace alga::sql::testing
