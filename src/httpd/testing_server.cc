#include "httpd/testing_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <charconv>

namespace alga::httpd {

TestingServer::TestingServer(Router router, ServerOptions options, std::size_t threads)
    : tls_(options.tls != nullptr), threads_(threads, "test-io") {
  std::string pattern = (std::filesystem::temp_directory_path() / "alga-httpd-XXXXXX").string();
  ALGA_CHECK(::mkdtemp(pattern.data()) != nullptr);
  folder_ = pattern;
  options.spool_folder = folder_;
  auto started =
      Server::start(std::move(options), std::make_shared<const Router>(std::move(router)),
                    {.threads = &threads_,
                     .files = &files_,
                     .clock = &clock_,
                     .random = &random_,
                     .metrics = &metrics_});
  ALGA_CHECK(started.has_value());
  server_ = std::move(*started);
}

TestingServer::~TestingServer() {
  server_.reset();
  // Its threads let go of the loops a moment after they have handed an answer over.
  files_.close();
  threads_.stop();
  std::filesystem::remove_all(folder_);
}

std::string TestingServer::origin() const {
  return (tls_ ? "https://localhost:" : "http://127.0.0.1:") + std::to_string(port());
}

RawClient::RawClient(std::uint16_t port)
    : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const timeval patience{.tv_sec = 10, .tv_usec = 0};
  ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  ::setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  ALGA_CHECK(::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
}

RawClient::~RawClient() { ::close(socket_); }

bool RawClient::send(std::string_view text) {
  while (!text.empty()) {
    const ssize_t sent = ::send(socket_, text.data(), text.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

void RawClient::finish() { ::shutdown(socket_, SHUT_WR); }

bool RawClient::more() {
  char piece[16384];
  const ssize_t got = ::recv(socket_, piece, sizeof piece, 0);
  if (got <= 0) return false;
  received_.append(piece, static_cast<std::size_t>(got));
  return true;
}

std::string RawClient::read_all() {
  while (more()) {
  }
  return std::exchange(received_, {});
}

std::string RawClient::read_response(bool head_only) {
  std::size_t end = 0;
  while ((end = received_.find("\r\n\r\n")) == std::string::npos) {
    if (!more()) return std::exchange(received_, {});
  }
  std::size_t length = end + 4;
  const std::size_t field = received_.find("content-length: ");
  if (!head_only && field < end) {
    std::size_t body = 0;
    std::from_chars(received_.data() + field + 16, received_.data() + end, body);
    length += body;
  }
  while (received_.size() < length) {
    if (!more()) break;
  }
  std::string response = received_.substr(0, length);
  received_.erase(0, length);
  return response;
}

std::string exchange_raw(std::uint16_t port, std::string_view request) {
  RawClient client(port);
  client.send(request);
  return client.read_all();
}

}  // namespace alga::httpd
