#pragma once

#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/system/error_code.hpp>
#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

#include "async/task.h"
#include "httpd/message.h"

namespace alga::httpd {

struct Transferred {
  boost::system::error_code
      error;  ///< `eof` at the orderly end, `operation_aborted` at the deadline
  std::size_t bytes = 0;
};

/// The bytes of one connection, with or without TLS. One read and one write at a time, on the
/// connection's thread. The virtual call keeps everything above it out of templates.
class Transport {
 public:
  virtual ~Transport() = default;
  /// Does the TLS handshake and fills in `peer`.
  [[nodiscard]] virtual async::Task<boost::system::error_code> open(SteadyTime deadline,
                                                                    Peer* peer) = 0;
  [[nodiscard]] virtual async::Task<Transferred> read_some(std::span<char> into,
                                                           SteadyTime deadline) = 0;
  /// Writes both pieces completely; they stay the caller's.
  [[nodiscard]] virtual async::Task<boost::system::error_code> write(std::string_view first,
                                                                     std::string_view second,
                                                                     SteadyTime deadline) = 0;
  /// Says goodbye: close_notify where there is TLS, then no more sending. Reading stays possible
  /// without TLS.
  [[nodiscard]] virtual async::Task<void> finish(SteadyTime deadline) = 0;
  /// Whether the peer has closed its side, also when something it sent before has not been read.
  [[nodiscard]] virtual bool peer_has_left() = 0;
  /// Ends pending operations with `operation_aborted`.
  virtual void cancel() = 0;
  virtual void close() = 0;
};

/// `tls` null: plain. The socket's executor must be that of the connection's io_context.
[[nodiscard]] std::unique_ptr<Transport> make_transport(
    boost::asio::ip::tcp::socket socket, std::shared_ptr<boost::asio::ssl::context> tls);

}  // namespace alga::httpd
