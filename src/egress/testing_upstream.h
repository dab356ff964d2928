#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace alga::egress {

/// A server on a free loopback port that answers each connection by a script: for tests of what a
/// hostile or broken upstream does.
class TestingUpstream {
 public:
  /// One accepted connection, blocking.
  class Connection {
   public:
    explicit Connection(int socket) : socket_(socket) {}
    /// Reads up to the end of one request head; false when the client has gone.
    bool read_head();
    /// False when the client has gone.
    bool write(std::string_view bytes);
    /// Waits until the client closes.
    void wait_closed();
    [[nodiscard]] const std::string& head() const [[clang::lifetimebound]] { return head_; }

   private:
    int socket_;
    std::string head_;
  };
  using Script = std::function<void(Connection&)>;

  explicit TestingUpstream(Script script);
  /// Shuts every connection down and waits for the scripts.
  ~TestingUpstream();
  TestingUpstream(const TestingUpstream&) = delete;
  TestingUpstream& operator=(const TestingUpstream&) = delete;

  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] int accepted() const { return accepted_; }

 private:
  void run();

  Script script_;
  int listener_ = -1;
  std::uint16_t port_ = 0;
  std::atomic<int> accepted_{0};
  std::mutex mutex_;
  std::vector<int> sockets_;
  std::vector<std::thread> scripts_;
  std::thread acceptor_;
};

}  // namespace alga::egress
