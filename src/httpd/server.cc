#include "httpd/server.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <future>
#include <string_view>
#include <utility>

#include "async/spawn.h"
#include "httpd/connection.h"
#include "httpd/server_core.h"

namespace alga::httpd {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

constexpr auto kAsTuple = asio::as_tuple(asio::use_awaitable);
constexpr std::chrono::seconds kReloadInterval{2};
constexpr std::chrono::milliseconds kAcceptPause{50};
constexpr std::chrono::seconds kAbortPatience{5};
constexpr std::array<double, 14> kSeconds{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                          0.1,    0.25,  0.5,    1,     2.5,  10,    30};
constexpr std::array<std::string_view, 6> kClasses{"", "1xx", "2xx", "3xx", "4xx", "5xx"};

RouteMetrics make_metrics(Metrics& metrics, std::string_view method, std::string_view pattern) {
  RouteMetrics result;
  for (std::size_t i = 2; i < kClasses.size(); ++i) {
    result.by_class[i] =
        &metrics.counter("alga_http_requests_total", "Requests answered",
                         {{"method", method}, {"route", pattern}, {"status", kClasses[i]}});
  }
  result.seconds = &metrics.histogram("alga_http_request_seconds",
                                      "From the complete header to the last byte of the answer",
                                      kSeconds, {{"route", pattern}});
  return result;
}

void accept_one(const std::shared_ptr<ServerCore>& core, asio::io_context& context,
                tcp::socket socket) {
  auto pass = core->gate.enter();
  if (!pass) return;
  if (core->gate.inside() > core->options.max_connections) {
    core->refused("max_connections");
    return;
  }
  error_code ignored;
  socket.set_option(tcp::no_delay(true), ignored);
  auto tls = core->options.tls ? core->options.tls->current() : nullptr;
  auto transport = make_transport(std::move(socket), std::move(tls));
  auto connection =
      std::make_shared<Connection>(core, &context, std::move(transport), std::move(*pass));
  core->open_connections->add(1);
  core->enlist(connection);
  Connection::start(std::move(connection));
}

async::Task<void> accept_loop(std::shared_ptr<ServerCore> core) {
  asio::steady_timer pause(core->acceptor.get_executor());
  while (!core->draining) {
    asio::io_context& context = core->services.threads->next();
    auto [error, socket] = co_await core->acceptor.async_accept(context, kAsTuple);
    if (!error) {
      accept_one(core, context, std::move(socket));
      continue;
    }
    if (core->draining) co_return;
    // Out of descriptors, or the peer has gone again: neither ends the server.
    core->refused("accept");
    pause.expires_after(kAcceptPause);
    co_await pause.async_wait(kAsTuple);
  }
}

async::Task<void> reload_loop(std::shared_ptr<ServerCore> core) {
  while (!core->draining) {
    core->reload_timer.expires_after(kReloadInterval);
    co_await core->reload_timer.async_wait(kAsTuple);
    if (core->draining) co_return;
    auto changed = co_await core->services.files->run(
        [tls = core->options.tls] { return tls->reload_if_changed(); });
    if (!changed) {
      core->services.log.error("certificate not reloaded", {{"code", changed.error().code},
                                                            {"error", changed.error().message}});
    } else if (*changed) {
      core->services.log.info("certificate reloaded");
    }
  }
}

Status listen(ServerCore& core) {
  error_code error;
  const auto address = asio::ip::make_address(core.options.address, error);
  if (error) return fail(Kind::invalid, "http.listen_failed", "not an IP address");
  const tcp::endpoint endpoint(address, core.options.port);
  tcp::acceptor& acceptor = core.acceptor;
  if (!error) acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(asio::socket_base::reuse_address(true), error);
  if (!error && address.is_v6()) acceptor.set_option(asio::ip::v6_only(false), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(4096, error);
  if (!error) core.port = acceptor.local_endpoint(error).port();
  if (error) return fail(Kind::unavailable, "http.listen_failed", error.message());
  return {};
}

}  // namespace

ServerCore::ServerCore(ServerOptions chosen, std::shared_ptr<const Router> routes,
                       ServerServices with)
    : options(std::move(chosen)),
      router(std::move(routes)),
      services(std::move(with)),
      acceptor(services.threads->at(0)),
      reload_timer(services.threads->at(0)) {
  for (const auto& [method, pattern] : router->routes()) {
    route_metrics.push_back(make_metrics(*services.metrics, method, pattern));
  }
  unrouted = make_metrics(*services.metrics, "", "none");
  open_connections =
      &services.metrics->gauge("alga_http_connections", "Connections open to the HTTP server");
}

void ServerCore::refused(std::string_view reason) const {
  services.metrics
      ->counter("alga_http_refused_total", "Connections and requests refused before routing",
                {{"reason", reason}})
      .add();
}

void ServerCore::enlist(const std::shared_ptr<Connection>& connection) {
  const std::scoped_lock lock(mutex_);
  connections_.emplace(connection.get(), connection);
}

void ServerCore::strike(const Connection* connection) {
  const std::scoped_lock lock(mutex_);
  connections_.erase(connection);
}

std::vector<std::shared_ptr<Connection>> ServerCore::enlisted() {
  const std::scoped_lock lock(mutex_);
  std::vector<std::shared_ptr<Connection>> result;
  for (const auto& [key, weak] : connections_) {
    if (auto connection = weak.lock()) result.push_back(std::move(connection));
  }
  return result;
}

Result<std::unique_ptr<Server>> Server::start(ServerOptions options,
                                              std::shared_ptr<const Router> router,
                                              ServerServices services) {
  auto core =
      std::make_shared<ServerCore>(std::move(options), std::move(router), std::move(services));
  if (Status listening = listen(*core); !listening) return fail(std::move(listening).error());
  asio::io_context& context = core->services.threads->at(0);
  async::spawn(context, accept_loop(core));
  if (core->options.tls) async::spawn(context, reload_loop(core));
  return std::unique_ptr<Server>(new Server(std::move(core)));
}

Server::~Server() { drain(std::chrono::steady_clock::now()); }

std::uint16_t Server::port() const { return core_->port; }

std::size_t Server::connections() const { return core_->gate.inside(); }

bool Server::drain(SteadyTime deadline) {
  if (core_->draining.exchange(true)) return true;
  // On the acceptor's thread, and waited for: afterwards nothing new can be enlisted.
  std::promise<void> closed;
  asio::post(core_->acceptor.get_executor(), [core = core_, &closed] {
    error_code ignored;
    core->acceptor.close(ignored);
    core->reload_timer.cancel();
    closed.set_value();
  });
  closed.get_future().wait();
  core_->gate.close();
  for (const auto& connection : core_->enlisted()) connection->drain();
  if (core_->gate.wait_empty(deadline)) return true;
  for (const auto& connection : core_->enlisted()) connection->abort();
  const bool ended = core_->gate.wait_empty(std::chrono::steady_clock::now() + kAbortPatience);
  if (!ended) core_->services.log.error("connections outlive the server", {});
  return false;
}

}  // namespace alga::httpd
