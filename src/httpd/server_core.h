#pragma once

#include <array>
#include <atomic>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "async/gate.h"
#include "httpd/server.h"

namespace alga::httpd {

class Connection;

/// Metric handles of one route.
struct RouteMetrics {
  std::array<Counter*, 6> by_class{};  ///< index: status / 100
  Histogram* seconds = nullptr;
};

/// What the connections of one server share. Everything here is thread-safe or constant.
struct ServerCore : std::enable_shared_from_this<ServerCore> {
  ServerCore(ServerOptions options, std::shared_ptr<const Router> routes, ServerServices with);

  ServerOptions options;
  std::shared_ptr<const Router> router;
  ServerServices services;

  boost::asio::ip::tcp::acceptor acceptor;  // on the first I/O thread
  boost::asio::steady_timer reload_timer;   // the same
  std::uint16_t port = 0;

  std::atomic<bool> draining{false};
  std::atomic<std::uint64_t> buffered_bytes{0};
  async::Gate gate;

  std::vector<RouteMetrics> route_metrics;  // by place in router->routes()
  RouteMetrics unrouted;
  Gauge* open_connections = nullptr;

  void refused(std::string_view reason) const;

  // The connections, so that drain() can reach them.
  void enlist(const std::shared_ptr<Connection>& connection);
  void strike(const Connection* connection);
  [[nodiscard]] std::vector<std::shared_ptr<Connection>> enlisted();

 private:
  std::mutex mutex_;
  std::unordered_map<const Connection*, std::weak_ptr<Connection>> connections_;
};

}  // namespace alga::httpd
