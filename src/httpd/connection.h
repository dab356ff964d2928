#pragma once

#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>

#include "async/gate.h"
#include "httpd/files.h"
#include "httpd/head.h"
#include "httpd/server_core.h"
#include "httpd/transport.h"

namespace alga::httpd {

/// One connection: reads a request, has it answered, and again. Lives on one I/O thread; only
/// start() may be called from another one.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(std::shared_ptr<ServerCore> core, boost::asio::io_context* context,
             std::unique_ptr<Transport> transport, async::Gate::Pass pass);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  static void start(std::shared_ptr<Connection> connection);

  /// Ends it now when it is idle, after the current answer when it is not. Any thread.
  void drain();
  /// Cancels whatever it does. Any thread.
  void abort();

 private:
  using BodyParser = boost::beast::http::request_parser<boost::beast::http::buffer_body>;

  /// Nothing more can be said on this connection.
  struct Gone {};
  /// What became of one step of reading: bytes, a fault to answer, or a connection that has gone.
  struct ReadFault {
    std::optional<HeadFault> answer;
  };
  /// A body as it arrives, and what it may cost.
  struct Incoming {
    std::optional<BodyParser> parser;
    SteadyTime started;
    std::uint64_t wire_bytes = 0;
    std::uint64_t body_bytes = 0;
  };
  struct Exchange;

  static async::Task<void> run(std::shared_ptr<Connection> self);
  async::Task<void> serve();
  async::Task<std::expected<RequestHead, ReadFault>> read_head();
  async::Task<bool> serve_one(RequestHead head);
  async::Task<Response> respond(Exchange* exchange);
  async::Task<std::optional<Response>> admit(Exchange* exchange);
  async::Task<Response> call(const Handler* handler, Request request, bool watch);
  void look_for_client();

  // Bodies in (body.cc)
  std::optional<HeadFault> begin_body(Incoming* incoming);
  async::Task<std::expected<std::size_t, ReadFault>> read_body_some(Incoming* incoming,
                                                                    std::span<char> into);
  static Response body_too_large(const Exchange& exchange);
  async::Task<std::optional<Response>> receive_body(Exchange* exchange);
  async::Task<std::optional<Response>> receive_in_memory(Exchange* exchange);
  async::Task<std::optional<Response>> receive_to_file(Exchange* exchange);

  // Answers out (answer.cc)
  async::Task<bool> write_answer(Response response, Exchange* exchange);
  async::Task<bool> write_memory(Response response, Exchange* exchange);
  async::Task<bool> write_file(Response response, Exchange* exchange);
  async::Task<bool> write_stream(Response response, Exchange* exchange);
  async::Task<bool> write(std::string_view first, std::string_view second);
  async::Task<void> write_fault(HeadFault fault);
  async::Task<void> linger();
  std::string_view date();

  [[nodiscard]] std::string new_request_id() const;
  [[nodiscard]] bool draining() const { return core_->draining.load(std::memory_order_relaxed); }
  static SteadyTime in(std::chrono::milliseconds duration) {
    return std::chrono::steady_clock::now() + duration;
  }

  std::shared_ptr<ServerCore> core_;
  boost::asio::io_context& context_;
  std::unique_ptr<Transport> transport_;
  async::Gate::Pass pass_;
  boost::asio::cancellation_signal abort_signal_;
  boost::asio::steady_timer drain_signal_;  // never expires; cancelled by drain()
  boost::asio::steady_timer look_;          // runs while looking_
  bool looking_ = false;
  bool watching_ = false;  // a handler is to be cancelled when the client leaves
  bool client_left_ = false;
  boost::beast::flat_buffer buffer_;
  std::string head_text_;  // the raw head of the current request
  Peer peer_;
  bool idle_ = false;
  std::int64_t date_second_ = -1;
  std::string date_text_;
};

/// What a request says about the part of a file that it wants; outlives the Request, which goes to
/// the handler.
struct FileConditions {
  std::optional<std::string> range, if_range, if_none_match;
};

/// One request and what belongs to it while it is answered.
struct Connection::Exchange {
  RequestHead head;
  Request request;  ///< moved to the handler
  std::string method;
  std::string request_id;
  SteadyTime received;
  FileConditions conditions;
  Router::Match match;
  Incoming incoming;
  std::shared_ptr<SpoolFile> spool;
  std::uint64_t reserved = 0;  // of ServerCore::buffered_bytes
  bool keep_alive = true;
  std::uint16_t status = 0;
  ServerCore* core = nullptr;

  ~Exchange() { release(); }
  void release() {
    if (core != nullptr) core->buffered_bytes.fetch_sub(reserved);
    reserved = 0;
  }
};

}  // namespace alga::httpd
