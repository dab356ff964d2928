#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "async/blocking_pool.h"
#include "async/io_threads.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "base/random.h"
#include "httpd/server.h"

namespace alga::httpd {

/// A real server on a free loopback port with everything it needs; for tests.
class TestingServer {
 public:
  /// Starts at once; aborts when it cannot. `options.address` stays loopback by default.
  explicit TestingServer(Router router, ServerOptions options = {}, std::size_t threads = 1);
  ~TestingServer();

  [[nodiscard]] std::uint16_t port() const { return server_->port(); }
  [[nodiscard]] Server& server() [[clang::lifetimebound]] { return *server_; }
  /// `http://127.0.0.1:<port>` or `https://localhost:<port>`.
  [[nodiscard]] std::string origin() const;
  [[nodiscard]] const std::string& spool_folder() const [[clang::lifetimebound]] { return folder_; }

 private:
  SystemClock clock_;
  SystemRandom random_;
  NoMetrics metrics_;
  std::string folder_;
  bool tls_;
  async::BlockingPool files_{2, 1000, "test-files"};
  async::IoThreads threads_;
  std::unique_ptr<Server> server_;
};

/// A blocking socket that says exactly what it is told; for tests of the wire.
class RawClient {
 public:
  explicit RawClient(std::uint16_t port);
  ~RawClient();
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  /// False when the server has closed.
  bool send(std::string_view text);
  /// No more to come from us.
  void finish();
  /// Everything until the server closes (at most 10 s of silence).
  std::string read_all();
  /// One response with `content-length` or without a body.
  std::string read_response(bool head_only = false);

 private:
  bool more();
  int socket_;
  std::string received_;
};

/// Sends one request on a new connection and reads until the server closes.
[[nodiscard]] std::string exchange_raw(std::uint16_t port, std::string_view request);

}  // namespace alga::httpd
