// How a Connection sends answers.
#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <utility>

#include "async/deadline.h"
#include "httpd/connection.h"

namespace alga::httpd {
namespace {

constexpr std::size_t kSlice = 64U << 10U;
constexpr std::size_t kFilePiece = 256U << 10U;

bool has_no_body(std::uint16_t status) { return status == 204 || status == 304; }

/// The handler's own validator and conditions decide what of the file is sent.
struct FileAnswer {
  std::uint64_t first = 0;
  std::uint64_t length = 0;
};

FileAnswer choose_part(const FileConditions& asked, std::uint64_t size, Response& response) {
  const auto etag = domain::find_header(response.headers, "etag");
  if (etag && asked.if_none_match && matches_etag(*asked.if_none_match, *etag)) {
    response.status = 304;
    return {};
  }
  const bool outdated = asked.if_range && (!etag || *asked.if_range != *etag);
  response.set("accept-ranges", "bytes");  // `etag` is a view into the fields: not to be used below
  if (!asked.range || response.status != 200 || outdated) return {0, size};
  auto part = parse_range(*asked.range, size);
  if (!part) {
    response.status = 416;
    response.set("content-range", fmt::format("bytes */{}", size));
    return {};
  }
  if (!*part) return {0, size};
  const ByteRange& chosen = **part;
  response.status = 206;
  response.set("content-range",
               fmt::format("bytes {}-{}/{}", chosen.first, chosen.first + chosen.length - 1, size));
  return {chosen.first, chosen.length};
}

}  // namespace

async::Task<bool> Connection::write(std::string_view first, std::string_view second) {
  const auto error = co_await transport_->write(first, second, in(core_->options.write_timeout));
  co_return !error;
}

async::Task<bool> Connection::write_answer(Response response, Exchange* exchange) {
  const std::string& request_id = exchange->request_id;
  if (response.status < 200 || response.status > 599) {
    core_->services.log.error("answer with an impossible status",
                              {{"request_id", request_id}, {"status", response.status}});
    response = problem_response(500, "http.internal", "internal error", request_id);
  }
  // Checked before anything is sent, so that it can still become an error.
  if (!serialize_head(response, {}, request_id, date())) {
    core_->services.log.error("answer with an invalid header", {{"request_id", request_id}});
    response = problem_response(500, "http.internal", "internal error", request_id);
  }
  if (!response.file.empty()) co_return co_await write_file(std::move(response), exchange);
  if (response.stream) co_return co_await write_stream(std::move(response), exchange);
  co_return co_await write_memory(std::move(response), exchange);
}

async::Task<bool> Connection::write_memory(Response response, Exchange* exchange) {
  exchange->status = response.status;
  Framing framing{.keep_alive = exchange->keep_alive};
  if (!has_no_body(response.status)) framing.content_length = response.body.size();
  const auto head = serialize_head(response, framing, exchange->request_id, date());
  std::string_view rest = response.body;
  if (has_no_body(response.status) || exchange->method == "HEAD") rest = {};
  bool written = co_await write(*head, rest.substr(0, kSlice));
  rest.remove_prefix(std::min(rest.size(), kSlice));
  while (written && !rest.empty()) {
    written = co_await write(rest.substr(0, kSlice), {});
    rest.remove_prefix(std::min(rest.size(), kSlice));
  }
  co_return written;
}

async::Task<bool> Connection::write_file(Response response, Exchange* exchange) {
  const std::string request_id = exchange->request_id;
  async::BlockingPool& files = *core_->services.files;
  auto opened = co_await files.run([path = response.file] { return ServedFile::open(path); });
  if (!opened) {
    Response problem = error_response(opened.error(), request_id);
    co_return co_await write_memory(std::move(problem), exchange);
  }
  const std::shared_ptr<ServedFile> file = *opened;
  FileAnswer part = choose_part(exchange->conditions, file->size(), response);
  exchange->status = response.status;
  Framing framing{.keep_alive = exchange->keep_alive};
  if (!has_no_body(response.status)) framing.content_length = part.length;
  const auto head = serialize_head(response, framing, request_id, date());
  if (exchange->method == "HEAD") part.length = 0;
  bool written = co_await write(*head, {});
  while (written && part.length > 0) {
    const std::size_t length = std::min<std::uint64_t>(part.length, kFilePiece);
    auto piece = co_await files.run(
        [file, first = part.first, length] { return file->read(first, length); });
    // The length has been promised; breaking the connection is all that is left to say.
    if (!piece) co_return false;
    std::string_view rest = *piece;
    while (written && !rest.empty()) {
      written = co_await write(rest.substr(0, kSlice), {});
      rest.remove_prefix(std::min(rest.size(), kSlice));
    }
    part.first += length;
    part.length -= length;
  }
  co_return written;
}

async::Task<bool> Connection::write_stream(Response response, Exchange* exchange) {
  using namespace boost::asio::experimental::awaitable_operators;
  exchange->status = response.status;
  const bool chunked = exchange->head.http11;
  if (!chunked) exchange->keep_alive = false;
  const Framing framing{.chunked = chunked, .keep_alive = exchange->keep_alive};
  const auto head = serialize_head(response, framing, exchange->request_id, date());
  bool written = co_await write(*head, {});
  if (exchange->method == "HEAD") co_return written;
  while (written && !draining()) {
    auto step =
        co_await (async::guarded(response.stream()) ||
                  drain_signal_.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable)));
    auto* piece = std::get_if<0>(&step);
    if (piece == nullptr) break;  // draining
    if (!*piece) {
      core_->services.log.warn(
          "stream failed", {{"request_id", exchange->request_id}, {"code", piece->error().code}});
      co_return false;  // without the last chunk: the client sees that it is not whole
    }
    if ((*piece)->empty()) break;
    if (!chunked) {
      written = co_await write(**piece, {});
      continue;
    }
    const std::string framed = fmt::format("{:x}\r\n{}\r\n", (*piece)->size(), **piece);
    written = co_await write(framed, {});
  }
  if (draining()) exchange->keep_alive = false;
  if (written && chunked) written = co_await write("0\r\n\r\n", {});
  co_return written;
}

async::Task<void> Connection::write_fault(HeadFault fault) {
  core_->refused(fault.code);
  const std::string request_id = new_request_id();
  const Response response = problem_response(fault.status, fault.code, fault.message, request_id);
  const Framing framing{.content_length = response.body.size(), .keep_alive = false};
  const auto head = serialize_head(response, framing, request_id, date());
  const bool written = co_await write(*head, response.body);
  if (written) co_await linger();
}

/// Closing with unread bytes would reset the connection and could take our answer with it, so what
/// still comes is read and thrown away for a moment (RFC 9112 section 9.6).
async::Task<void> Connection::linger() {
  constexpr std::size_t most = 1U << 20U;
  const SteadyTime deadline = in(std::chrono::milliseconds(1000));
  if (!peer_.tls) co_await transport_->finish(deadline);
  std::string waste(kSlice, '\0');
  for (std::size_t total = 0; total < most;) {
    const Transferred got = co_await transport_->read_some(waste, deadline);
    if (got.error) break;
    total += got.bytes;
  }
  if (peer_.tls) co_await transport_->finish(deadline);
}

std::string_view Connection::date() {
  const WallTime now = core_->services.clock->wall();
  const std::int64_t second =
      std::chrono::floor<std::chrono::seconds>(now).time_since_epoch().count();
  if (second != date_second_) {
    date_second_ = second;
    date_text_ = http_date(now);
  }
  return date_text_;
}

}  // namespace alga::httpd
