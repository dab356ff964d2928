#include "egress/testing_upstream.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/result.h"

namespace alga::egress {

bool TestingUpstream::Connection::read_head() {
  head_.clear();
  char byte = 0;
  while (!head_.ends_with("\r\n\r\n")) {
    if (::recv(socket_, &byte, 1, 0) != 1) return false;
    head_.push_back(byte);
  }
  return true;
}

bool TestingUpstream::Connection::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

void TestingUpstream::Connection::wait_closed() {
  char waste[4096];
  while (::recv(socket_, waste, sizeof waste, 0) > 0) {
  }
}

TestingUpstream::TestingUpstream(Script script)
    : script_(std::move(script)), listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  ALGA_CHECK(::bind(listener_, generic, size) == 0);
  ALGA_CHECK(::listen(listener_, 1024) == 0);
  ALGA_CHECK(::getsockname(listener_, generic, &size) == 0);
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { run(); });
}

TestingUpstream::~TestingUpstream() {
  ::shutdown(listener_, SHUT_RDWR);
  acceptor_.join();
  {
    const std::scoped_lock lock(mutex_);
    for (const int socket : sockets_) ::shutdown(socket, SHUT_RDWR);
  }
  for (std::thread& script : scripts_) script.join();
  for (const int socket : sockets_) ::close(socket);
  ::close(listener_);
}

void TestingUpstream::run() {
  while (true) {
    const int socket = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (socket < 0) return;
    ++accepted_;
    const std::scoped_lock lock(mutex_);
    sockets_.push_back(socket);
    scripts_.emplace_back([this, socket] {
      Connection connection(socket);
      script_(connection);
      // The descriptor stays ours until the end, so that its number is not used again.
      ::shutdown(socket, SHUT_RDWR);
    });
  }
}

}  // namespace alga::egress
