// How a Connection takes in request bodies.
#include <algorithm>
#include <utility>

#include "httpd/connection.h"

namespace alga::httpd {
namespace {

namespace http = boost::beast::http;

constexpr std::size_t kPiece = 64U << 10U;
/// Tiny chunks cost many times their content; beyond this the sender wants to be a nuisance.
constexpr std::uint64_t kWireFactor = 8;
constexpr std::uint64_t kWireGrace = 64U << 10U;

HeadFault bad_body() { return {400, "http.bad_request", "malformed request body"}; }

Response to_response(const HeadFault& fault, std::string_view request_id) {
  return problem_response(fault.status, fault.code, fault.message, request_id);
}

}  // namespace

/// Beast reads the head again: it decides on the framing of the body, and two readers that do not
/// agree about a message are a reason to refuse it.
std::optional<HeadFault> Connection::begin_body(Incoming* incoming) {
  incoming->parser.emplace();
  BodyParser& parser = *incoming->parser;
  parser.header_limit(static_cast<std::uint32_t>(head_text_.size() + kPiece));
  parser.body_limit(boost::none);  // counted by the reader
  boost::system::error_code error;
  const std::size_t used = parser.put(boost::asio::buffer(head_text_), error);
  if (error == http::error::need_more) error = {};
  if (error || used != head_text_.size() || !parser.is_header_done()) {
    return HeadFault{400, "http.bad_request", "malformed request header"};
  }
  incoming->started = std::chrono::steady_clock::now();
  return std::nullopt;
}

/// At least one byte of the body, or 0 at its end.
async::Task<std::expected<std::size_t, Connection::ReadFault>> Connection::read_body_some(
    Incoming* incoming, std::span<char> into) {
  BodyParser& parser = *incoming->parser;
  const ServerOptions& options = core_->options;
  while (!parser.is_done()) {
    auto& body = parser.get().body();
    if (buffer_.size() > 0) {
      body.data = into.data();
      body.size = into.size();
      body.more = true;
      boost::system::error_code error;
      const std::size_t used = parser.put(buffer_.data(), error);
      buffer_.consume(used);
      incoming->wire_bytes += used;
      const std::size_t produced = into.size() - body.size;
      incoming->body_bytes += produced;
      const bool starved = error == http::error::need_more;
      if (error && !starved && error != http::error::need_buffer) {
        co_return std::unexpected(ReadFault{bad_body()});
      }
      if (incoming->wire_bytes > kWireGrace + kWireFactor * incoming->body_bytes) {
        co_return std::unexpected(ReadFault{bad_body()});
      }
      if (produced > 0) co_return produced;
      if (!starved && used > 0) continue;
    }
    if (buffer_.size() == buffer_.max_size()) co_return std::unexpected(ReadFault{bad_body()});
    const auto paid = std::chrono::milliseconds(
        options.min_body_rate == 0 ? 0 : incoming->wire_bytes * 1000 / options.min_body_rate);
    const SteadyTime patience = in(options.body_timeout);
    const SteadyTime deadline =
        options.min_body_rate == 0
            ? patience
            : std::min(patience, incoming->started + options.body_timeout + paid);
    const std::size_t room = std::min(kPiece, buffer_.max_size() - buffer_.size());
    auto space = buffer_.prepare(room);
    const Transferred got =
        co_await transport_->read_some({static_cast<char*>(space.data()), room}, deadline);
    if (got.error) {
      core_->refused("incomplete_body");
      co_return std::unexpected(ReadFault{});
    }
    buffer_.commit(got.bytes);
  }
  co_return 0;
}

Response Connection::body_too_large(const Exchange& exchange) {
  if (const auto& tell = exchange.match.options->too_large) {
    if (std::optional<Response> answer = tell(exchange.request)) return std::move(*answer);
  }
  return problem_response(413, "http.body_too_large", "the request body is too large",
                          exchange.request.request_id);
}

async::Task<std::optional<Response>> Connection::receive_body(Exchange* exchange) {
  const std::string& request_id = exchange->request.request_id;
  if (auto problem = begin_body(&exchange->incoming)) {
    co_return to_response(*problem, request_id);
  }
  if (exchange->head.expects_continue && buffer_.size() == 0) {
    const bool written = co_await write("HTTP/1.1 100 Continue\r\n\r\n", {});
    if (!written) throw boost::system::system_error(boost::asio::error::operation_aborted);
  }
  if (exchange->match.options->spool) co_return co_await receive_to_file(exchange);
  co_return co_await receive_in_memory(exchange);
}

async::Task<std::optional<Response>> Connection::receive_in_memory(Exchange* exchange) {
  Request& request = exchange->request;
  const std::uint64_t limit = exchange->match.options->max_body;
  std::string piece(std::min<std::uint64_t>(
                        kPiece, exchange->head.chunked ? kPiece : exchange->head.content_length),
                    '\0');
  while (true) {
    auto got = co_await read_body_some(&exchange->incoming, piece);
    if (!got) {
      if (got.error().answer) co_return to_response(*got.error().answer, request.request_id);
      throw boost::system::system_error(boost::asio::error::operation_aborted);
    }
    if (*got == 0) break;
    if (exchange->incoming.body_bytes > limit) {
      co_return body_too_large(*exchange);
    }
    exchange->reserved += *got;
    if (core_->buffered_bytes.fetch_add(*got) + *got > core_->options.max_buffered_bytes) {
      core_->refused("buffered_bytes");
      Response response =
          problem_response(503, "http.overloaded", "too many large requests", request.request_id);
      response.set("retry-after", "1");
      co_return response;
    }
    request.body.append(piece, 0, *got);
  }
  request.body_size = request.body.size();
  co_return std::nullopt;
}

async::Task<std::optional<Response>> Connection::receive_to_file(Exchange* exchange) {
  Request& request = exchange->request;
  const std::uint64_t limit = exchange->match.options->max_body;
  async::BlockingPool& files = *core_->services.files;
  auto created = co_await files.run(
      [folder = core_->options.spool_folder] { return SpoolFile::create(folder); });
  if (!created) co_return error_response(created.error(), request.request_id);
  exchange->spool = *created;
  std::string piece(4 * kPiece, '\0');
  std::size_t filled = 0;
  bool end = !exchange->head.has_body();
  while (!end) {
    auto got = co_await read_body_some(&exchange->incoming, std::span(piece).subspan(filled));
    if (!got) {
      if (got.error().answer) co_return to_response(*got.error().answer, request.request_id);
      throw boost::system::system_error(boost::asio::error::operation_aborted);
    }
    end = *got == 0;
    filled += *got;
    if (exchange->incoming.body_bytes > limit) {
      co_return body_too_large(*exchange);
    }
    if (filled < piece.size() && !end) continue;
    // Waited for even when the connection is cancelled, so the piece may stay here.
    Status kept = co_await files.run(
        [file = exchange->spool, bytes = std::string_view(piece).substr(0, filled)] {
          return file->append(bytes);
        });
    if (!kept) co_return error_response(kept.error(), request.request_id);
    filled = 0;
  }
  request.body_sha256 = exchange->spool->digest();
  request.body_file = exchange->spool->path();
  request.body_size = exchange->incoming.body_bytes;
  co_return std::nullopt;
}

}  // namespace alga::httpd
