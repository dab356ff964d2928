#include "httpd/transport.h"

#include <netinet/tcp.h>

#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/stream_traits.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/ssl/ssl_stream.hpp>
#include <chrono>
#include <memory>
#include <utility>

#include "tls/server_context.h"

namespace alga::httpd {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
using boost::system::error_code;

constexpr auto kAsTuple = asio::as_tuple(asio::use_awaitable);

using Socket = asio::ip::tcp::socket;

/// Ends what a socket does when its time is over. A request sets several deadlines, of which hardly
/// one in a million passes, so the timer stays as it is while they move away from it and looks
/// again when it has run out.
class Deadline : public std::enable_shared_from_this<Deadline> {
 public:
  /// The socket outlives it; both on one thread.
  explicit Deadline(Socket* socket) : socket_(socket), timer_(socket->get_executor()) {}

  void set(SteadyTime when) {
    when_ = when;
    if (when < armed_) arm();
  }
  void clear() { when_ = SteadyTime::max(); }

 private:
  void arm() {
    armed_ = when_;
    timer_.expires_at(when_);
    timer_.async_wait([weak = weak_from_this()](const error_code& error) {
      const std::shared_ptr<Deadline> self = weak.lock();
      if (!error && self) self->look();
    });
  }

  void look() {
    armed_ = SteadyTime::max();
    if (when_ == SteadyTime::max()) return;
    if (when_ > std::chrono::steady_clock::now()) {
      arm();
      return;
    }
    clear();
    error_code ignored;
    socket_->cancel(ignored);
  }

  Socket* socket_;
  asio::steady_timer timer_;
  SteadyTime when_ = SteadyTime::max();
  SteadyTime armed_ = SteadyTime::max();
};

void describe_address(const Socket& socket, Peer* peer) {
  error_code error;
  const auto endpoint = socket.remote_endpoint(error);
  if (error) return;
  asio::ip::address address = endpoint.address();
  if (address.is_v6() && address.to_v6().is_v4_mapped()) {
    address = asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6());
  }
  peer->socket_address = address.to_string();
  peer->address = peer->socket_address;
}

/// What both kinds do in the same way.
template <class Stream>
class StreamTransport : public Transport {
 public:
  async::Task<Transferred> read_some(std::span<char> into, SteadyTime deadline) override {
    deadline_->set(deadline);
    auto [error, bytes] =
        co_await stream_.async_read_some(asio::buffer(into.data(), into.size()), kAsTuple);
    deadline_->clear();
    co_return Transferred{error, bytes};
  }

  async::Task<error_code> write(std::string_view first, std::string_view second,
                                SteadyTime deadline) override {
    deadline_->set(deadline);
    const std::array<asio::const_buffer, 2> pieces{asio::buffer(first), asio::buffer(second)};
    auto [error, bytes] = co_await asio::async_write(stream_, pieces, kAsTuple);
    deadline_->clear();
    co_return error;
  }

  bool peer_has_left() override {
    tcp_info info{};
    socklen_t size = sizeof info;
    const int handle = socket().native_handle();
    if (::getsockopt(handle, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return true;
    return info.tcpi_state != TCP_ESTABLISHED;
  }

  void cancel() override {
    error_code ignored;
    socket().cancel(ignored);
  }
  void close() override {
    error_code ignored;
    socket().close(ignored);
  }

 protected:
  template <class... Arguments>
  explicit StreamTransport(Arguments&&... arguments)
      : stream_(std::forward<Arguments>(arguments)...),
        deadline_(std::make_shared<Deadline>(&socket())) {}

  Socket& socket() { return beast::get_lowest_layer(stream_).socket(); }

  Stream stream_;
  std::shared_ptr<Deadline> deadline_;
};

class PlainTransport final : public StreamTransport<beast::tcp_stream> {
 public:
  explicit PlainTransport(Socket socket) : StreamTransport(std::move(socket)) {}

  async::Task<error_code> open(SteadyTime, Peer* peer) override {
    describe_address(socket(), peer);
    co_return error_code{};
  }

  async::Task<void> finish(SteadyTime) override {
    error_code ignored;
    socket().shutdown(Socket::shutdown_send, ignored);
    co_return;
  }
};

class TlsTransport final : public StreamTransport<beast::ssl_stream<beast::tcp_stream>> {
 public:
  TlsTransport(Socket socket, std::shared_ptr<asio::ssl::context> context)
      : StreamTransport(std::move(socket), *context), context_(std::move(context)) {}

  async::Task<error_code> open(SteadyTime deadline, Peer* peer) override {
    describe_address(socket(), peer);
    deadline_->set(deadline);
    auto [error] = co_await stream_.async_handshake(asio::ssl::stream_base::server, kAsTuple);
    deadline_->clear();
    if (error) co_return error;
    peer->tls = true;
    if (auto certificate = tls::peer_certificate(stream_.native_handle())) {
      peer->certificate_names = std::move(certificate->names);
      peer->certificate_sha256 = std::move(certificate->sha256);
    }
    co_return error_code{};
  }

  async::Task<void> finish(SteadyTime deadline) override {
    deadline_->set(deadline);
    // Waits for the peer's close_notify as well, at most until the deadline.
    co_await stream_.async_shutdown(kAsTuple);
    deadline_->clear();
  }

 private:
  std::shared_ptr<asio::ssl::context> context_;  // as long as the stream uses it
};

}  // namespace

std::unique_ptr<Transport> make_transport(Socket socket, std::shared_ptr<asio::ssl::context> tls) {
  if (tls) return std::make_unique<TlsTransport>(std::move(socket), std::move(tls));
  return std::make_unique<PlainTransport>(std::move(socket));
}

}  // namespace alga::httpd
