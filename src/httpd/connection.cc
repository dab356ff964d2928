#include "httpd/connection.h"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/system/system_error.hpp>
#include <exception>
#include <utility>

#include "async/deadline.h"
#include "base/ids.h"
#include "base/late.h"
#include "httpd/forwarded.h"
namespace alga::httpd {
namespace {

constexpr std::size_t kReadSize = 16U << 10U;
constexpr std::chrono::milliseconds kLookForClient{200};

std::string_view text_of(const boost::beast::flat_buffer& buffer) {
  return {static_cast<const char*>(buffer.data().data()), buffer.size()};
}

async::Task<Result<Response>> invoke(const Handler* handler, Request request) {
  Response response = co_await (*handler)(std::move(request));
  co_return response;
}

FileConditions conditions_of(const Request& request) {
  auto copy = [&](std::string_view name) -> std::optional<std::string> {
    const auto value = request.header(name);
    return value ? std::optional(std::string(*value)) : std::nullopt;
  };
  return {copy("range"), copy("if-range"), copy("if-none-match")};
}

std::string join(const std::vector<std::string>& methods) {
  std::string result;
  for (const std::string& method : methods) {
    if (!result.empty()) result += ", ";
    result += method;
  }
  return result;
}

}  // namespace

Connection::Connection(std::shared_ptr<ServerCore> core, boost::asio::io_context* context,
                       std::unique_ptr<Transport> transport, async::Gate::Pass pass)
    : core_(std::move(core)),
      context_(*context),
      transport_(std::move(transport)),
      pass_(std::move(pass)),
      drain_signal_(context_, SteadyTime::max()),
      look_(context_),
      // A whole head and then some of the body; the head's own limit is enforced before.
      buffer_(core_->options.head.max_bytes + kReadSize) {}

Connection::~Connection() {
  core_->strike(this);
  core_->open_connections->add(-1);
}

void Connection::start(std::shared_ptr<Connection> connection) {
  auto slot = connection->abort_signal_.slot();
  auto& context = connection->context_;
  // The completion handler keeps the connection, and so the signal, beyond the coroutine's frame.
  auto ended = [connection](std::exception_ptr problem) {
    if (!problem) return;
    try {
      std::rethrow_exception(problem);
    } catch (const boost::system::system_error& error) {
      if (error.code() == boost::asio::error::operation_aborted) return;
      connection->core_->services.log.error("connection failed", {{"error", error.what()}});
    } catch (const std::exception& error) {
      connection->core_->services.log.error("connection failed", {{"error", error.what()}});
    }
  };
  boost::asio::co_spawn(context, run(connection),
                        boost::asio::bind_cancellation_slot(slot, std::move(ended)));
}

void Connection::drain() {
  boost::asio::post(context_, [self = shared_from_this()] {
    self->drain_signal_.cancel();
    if (self->idle_) self->transport_->cancel();
  });
}

void Connection::abort() {
  boost::asio::post(context_, [self = shared_from_this()] {
    self->abort_signal_.emit(boost::asio::cancellation_type::terminal);
  });
}

async::Task<void> Connection::run(std::shared_ptr<Connection> self) {
  co_await self->serve();
  self->transport_->close();
}

async::Task<void> Connection::serve() {
  const auto error = co_await transport_->open(in(core_->options.handshake_timeout), &peer_);
  if (error) {
    core_->refused("tls_handshake");
    co_return;
  }
  while (true) {
    auto head = co_await read_head();
    if (!head) {
      const std::optional<HeadFault> fault = std::move(head.error().answer);
      if (fault) co_await write_fault(*fault);
      co_return;
    }
    const bool again = co_await serve_one(std::move(*head));
    if (!again) co_return;
  }
}

async::Task<std::expected<RequestHead, Connection::ReadFault>> Connection::read_head() {
  const HeadLimits& limits = core_->options.head;
  const bool first = head_text_.empty();
  idle_ = true;
  SteadyTime deadline = in(first ? core_->options.header_timeout : core_->options.idle_timeout);
  while (true) {
    // RFC 9112 section 2.2: an empty line in front of a request is forgiven.
    while (text_of(buffer_).starts_with("\r\n")) buffer_.consume(2);
    const std::string_view received = text_of(buffer_);
    if (!received.empty()) {
      if (idle_) deadline = in(core_->options.header_timeout);
      idle_ = false;
      auto found = find_head(received, limits);
      if (!found) co_return std::unexpected(ReadFault{found.error()});
      if (const std::optional<std::size_t> end = *found) {
        head_text_.assign(received.substr(0, *end));
        buffer_.consume(*end);
        auto head = parse_head(head_text_, limits);
        if (!head) co_return std::unexpected(ReadFault{head.error()});
        co_return std::move(*head);
      }
    }
    if (idle_ && draining()) co_return std::unexpected(ReadFault{});
    const std::size_t room = std::min(kReadSize, buffer_.max_size() - buffer_.size());
    auto space = buffer_.prepare(room);
    const Transferred got =
        co_await transport_->read_some({static_cast<char*>(space.data()), room}, deadline);
    if (got.error) {
      if (!idle_) core_->refused("incomplete_header");
      co_return std::unexpected(ReadFault{});
    }
    buffer_.commit(got.bytes);
  }
}

async::Task<bool> Connection::serve_one(RequestHead head) {
  Exchange exchange;
  exchange.core = core_.get();
  Request& request = exchange.request;
  request.received = core_->services.clock->steady();
  request.method = std::move(head.method);
  request.path = std::move(head.path);
  request.query = std::move(head.query);
  request.headers = std::move(head.headers);
  request.peer = peer_;
  const auto id = request.header("x-request-id");
  request.request_id = id && is_identifier(*id) ? std::string(*id) : new_request_id();
  request.peer.secure = peer_.tls;
  believe_proxies(request.peer, request.headers, core_->options.trusted_proxies);
  exchange.head = std::move(head);
  exchange.keep_alive = exchange.head.keep_alive;
  exchange.method = request.method;
  exchange.request_id = request.request_id;
  exchange.received = request.received;
  exchange.conditions = conditions_of(request);

  Response response = co_await respond(&exchange);
  const bool body_pending = exchange.head.has_body() &&
                            !(exchange.incoming.parser && exchange.incoming.parser->is_done());
  if (body_pending || draining()) exchange.keep_alive = false;
  const bool written = co_await write_answer(std::move(response), &exchange);
  if (comes_late()) {
    co_await async::sleep_for(core_->services.clock, std::chrono::milliseconds{80});
  }

  const RouteMetrics& metrics = exchange.match.handler != nullptr
                                    ? core_->route_metrics[exchange.match.route]
                                    : core_->unrouted;
  const std::chrono::duration<double> took = core_->services.clock->steady() - exchange.received;
  metrics.by_class[exchange.status / 100]->add();
  metrics.seconds->observe(took.count());
  core_->services.log.debug("request", {{"method", exchange.method},
                                        {"route", exchange.match.pattern},
                                        {"status", exchange.status},
                                        {"seconds", took.count()},
                                        {"request_id", exchange.request_id}});
  exchange.spool.reset();
  exchange.release();
  if (written && !exchange.keep_alive) co_await linger();
  co_return written&& exchange.keep_alive;
}

async::Task<Response> Connection::respond(Exchange* exchange) {
  Request& request = exchange->request;
  exchange->match = core_->router->match(request.method, request.path);
  Router::Match& match = exchange->match;
  if (match.handler == nullptr) {
    if (match.allowed.empty()) {
      co_return problem_response(404, "http.not_found", "no such resource", request.request_id);
    }
    Response response = problem_response(405, "http.method_not_allowed",
                                         "the method is not allowed here", request.request_id);
    response.set("allow", join(match.allowed));
    co_return response;
  }
  request.params = std::move(match.params);
  std::optional<Response> refusal = co_await admit(exchange);
  if (refusal) {
    if (match.options->refused) match.options->refused(request, *refusal);
    co_return std::move(*refusal);
  }
  co_return co_await call(match.handler, std::move(request),
                          match.options->cancel_when_client_leaves);
}

/// Whatever comes before the handler; a Response refuses the request.
async::Task<std::optional<Response>> Connection::admit(Exchange* exchange) {
  Request& request = exchange->request;
  const Router::Match& match = exchange->match;
  const bool too_large = exchange->head.content_length > match.options->max_body;
  if (too_large && !match.options->too_large) co_return body_too_large(*exchange);
  if (match.options->admit) {
    Request shown = request;
    std::optional<Response> refusal;
    try {
      refusal = co_await match.options->admit(std::move(shown));
    } catch (const std::exception& error) {
      core_->services.log.error(
          "admission threw",
          {{"request_id", request.request_id}, {"route", match.pattern}, {"error", error.what()}});
      refusal = problem_response(500, "http.internal", "internal error", request.request_id);
    }
    if (refusal) co_return refusal;
  }
  if (too_large) co_return body_too_large(*exchange);
  if (exchange->head.has_body()) {
    co_return co_await receive_body(exchange);
  }
  if (match.options->spool) {
    co_return co_await receive_to_file(exchange);
  }
  co_return std::nullopt;
}

async::Task<Response> Connection::call(const Handler* handler, Request request, bool watch) {
  const std::string request_id = request.request_id;
  watching_ = watch;
  if (watching_ && !looking_) look_for_client();
  Result<Response> outcome = co_await async::guarded(invoke(handler, std::move(request)));
  watching_ = false;
  if (client_left_) {
    core_->refused("client_left");
    throw boost::system::system_error(boost::asio::error::operation_aborted);
  }
  if (outcome) co_return std::move(*outcome);
  core_->services.log.error("handler threw",
                            {{"request_id", request_id}, {"error", outcome.error().message}});
  co_return problem_response(500, "http.internal", "internal error", request_id);
}

/// Cancels everything when the client has closed while a handler works for it. Reading would tell
/// sooner, but what is read may be the next request, and with TLS the end hides behind bytes of the
/// protocol. The timer runs on from one request to the next: most are answered before it is due.
void Connection::look_for_client() {
  looking_ = true;
  look_.expires_after(kLookForClient);
  look_.async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
    const std::shared_ptr<Connection> self = weak.lock();
    if (error || !self) return;
    self->looking_ = false;
    if (!self->watching_) return;
    if (self->transport_->peer_has_left()) {
      self->client_left_ = true;
      self->abort_signal_.emit(boost::asio::cancellation_type::terminal);
    } else {
      self->look_for_client();
    }
  });
}

std::string Connection::new_request_id() const {
  return uuid_v7(*core_->services.clock, *core_->services.random);
}

}  // namespace alga::httpd
