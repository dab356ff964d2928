#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "async/blocking_pool.h"
#include "async/io_threads.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/random.h"
#include "base/result.h"
#include "domain/address.h"
#include "httpd/head.h"
#include "httpd/message.h"
#include "tls/server_context.h"

namespace alga::httpd {

struct ServerOptions {
  std::string address = "127.0.0.1";        ///< textual IP; `::` takes IPv4 as well
  std::uint16_t port = 0;                   ///< 0: any free one
  std::shared_ptr<tls::ServerContext> tls;  ///< null: plain HTTP
  /// Whose `X-Forwarded-For` and `-Proto` are believed.
  std::vector<domain::Network> trusted_proxies;
  std::size_t max_connections = 10'000;  ///< more are closed at once
  /// Bytes of request bodies in memory over all connections; beyond it bodies are refused with 503.
  std::uint64_t max_buffered_bytes = 512U << 20U;
  HeadLimits head;
  std::chrono::milliseconds handshake_timeout{10'000};
  std::chrono::milliseconds idle_timeout{75'000};    ///< between requests
  std::chrono::milliseconds header_timeout{10'000};  ///< first byte to complete head
  std::chrono::milliseconds body_timeout{15'000};    ///< without a byte, and at the start
  std::uint64_t min_body_rate = 4096;                ///< bytes per second over the whole body
  std::chrono::milliseconds write_timeout{30'000};   ///< per 64 KiB of an answer
  std::string spool_folder = "/tmp";                 ///< exists; only we can write to it
};

/// What the server works with; all of it outlives the I/O threads' stop().
struct ServerServices {
  async::IoThreads* threads = nullptr;
  async::BlockingPool* files = nullptr;
  const Clock* clock = nullptr;
  Random* random = nullptr;
  Metrics* metrics = nullptr;
  Logger log;
};

struct ServerCore;

/// An HTTP/1.1 server. One acceptor hands connections to the I/O threads in turn; requests on a
/// connection are served one after the other (pipelining is buffered within the header limit).
/// Metrics: `alga_http_requests_total{method,route,status}`, `alga_http_request_seconds{route}`,
/// `alga_http_connections`, `alga_http_refused_total{reason}`.
class Server {
 public:
  /// Listens and accepts at once. Error: `http.listen_failed` (unavailable).
  [[nodiscard]] static Result<std::unique_ptr<Server>> start(ServerOptions options,
                                                             std::shared_ptr<const Router> router,
                                                             ServerServices services);
  /// drain()s without patience.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// The port it listens on.
  [[nodiscard]] std::uint16_t port() const;
  [[nodiscard]] std::size_t connections() const;

  /// Stops accepting, ends idle connections and streams, lets requests in progress finish until
  /// `deadline` (system steady clock) and cancels the rest. True when nothing had to be cancelled.
  /// Blocks; not to be called on an I/O thread. A second call does nothing.
  bool drain(SteadyTime deadline);

 private:
  explicit Server(std::shared_ptr<ServerCore> core) : core_(std::move(core)) {}
  std::shared_ptr<ServerCore> core_;
};

}  // namespace alga::httpd
