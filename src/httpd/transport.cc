#include "httpd/transport.h"

#include <netinet/tcp.h>

#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/error.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/ssl/ssl_stream.hpp>
#include <utility>

#include "tls/server_context.h"

namespace alga::httpd {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
using boost::system::error_code;

constexpr auto kAsTuple = asio::as_tuple(asio::use_awaitable);

void describe_address(const beast::tcp_stream& stream, Peer* peer) {
  error_code error;
  const auto endpoint = stream.socket().remote_endpoint(error);
  if (error) return;
  asio::ip::address address = endpoint.address();
  if (address.is_v6() && address.to_v6().is_v4_mapped()) {
    address = asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6());
  }
  peer->address = address.to_string();
}

/// What both kinds do in the same way.
template <class Stream>
class StreamTransport : public Transport {
 public:
  async::Task<Transferred> read_some(std::span<char> into, SteadyTime deadline) override {
    tcp().expires_at(deadline);
    auto [error, bytes] =
        co_await stream_.async_read_some(asio::buffer(into.data(), into.size()), kAsTuple);
    tcp().expires_never();
    co_return Transferred{error, bytes};
  }

  async::Task<error_code> write(std::string_view first, std::string_view second,
                                SteadyTime deadline) override {
    tcp().expires_at(deadline);
    const std::array<asio::const_buffer, 2> pieces{asio::buffer(first), asio::buffer(second)};
    auto [error, bytes] = co_await asio::async_write(stream_, pieces, kAsTuple);
    tcp().expires_never();
    co_return error;
  }

  bool peer_has_left() override {
    tcp_info info{};
    socklen_t size = sizeof info;
    const int socket = tcp().socket().native_handle();
    if (::getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return true;
    return info.tcpi_state != TCP_ESTABLISHED;
  }

  void cancel() override { tcp().cancel(); }
  void close() override { tcp().close(); }

 protected:
  template <class... Arguments>
  explicit StreamTransport(Arguments&&... arguments)
      : stream_(std::forward<Arguments>(arguments)...) {}

  beast::tcp_stream& tcp() { return beast::get_lowest_layer(stream_); }

  Stream stream_;
};

class PlainTransport final : public StreamTransport<beast::tcp_stream> {
 public:
  explicit PlainTransport(asio::ip::tcp::socket socket) : StreamTransport(std::move(socket)) {}

  async::Task<error_code> open(SteadyTime, Peer* peer) override {
    describe_address(stream_, peer);
    co_return error_code{};
  }

  async::Task<void> finish(SteadyTime) override {
    error_code ignored;
    stream_.socket().shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
    co_return;
  }
};

class TlsTransport final : public StreamTransport<beast::ssl_stream<beast::tcp_stream>> {
 public:
  TlsTransport(asio::ip::tcp::socket socket, std::shared_ptr<asio::ssl::context> context)
      : StreamTransport(std::move(socket), *context), context_(std::move(context)) {}

  async::Task<error_code> open(SteadyTime deadline, Peer* peer) override {
    describe_address(tcp(), peer);
    tcp().expires_at(deadline);
    auto [error] = co_await stream_.async_handshake(asio::ssl::stream_base::server, kAsTuple);
    tcp().expires_never();
    if (error) co_return error;
    peer->tls = true;
    if (auto certificate = tls::peer_certificate(stream_.native_handle())) {
      peer->certificate_names = std::move(certificate->names);
      peer->certificate_sha256 = std::move(certificate->sha256);
    }
    co_return error_code{};
  }

  async::Task<void> finish(SteadyTime deadline) override {
    tcp().expires_at(deadline);
    // Waits for the peer's close_notify as well, at most until the deadline.
    co_await stream_.async_shutdown(kAsTuple);
    tcp().expires_never();
  }

 private:
  std::shared_ptr<asio::ssl::context> context_;  // as long as the stream uses it
};

}  // namespace

std::unique_ptr<Transport> make_transport(asio::ip::tcp::socket socket,
                                          std::shared_ptr<asio::ssl::context> tls) {
  if (tls) return std::make_unique<TlsTransport>(std::move(socket), std::move(tls));
  return std::make_unique<PlainTransport>(std::move(socket));
}

}  // namespace alga::httpd
