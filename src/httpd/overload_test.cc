#include <gtest/gtest.h>

#include "httpd/testing_server.h"

namespace alga::httpd {
namespace {

async::Task<Response> size_of(Request request) {
  Response response;
  response.set("x-size", std::to_string(request.body_size));
  co_return response;
}

std::string post(std::size_t size) {
  return "POST /size HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: " +
         std::to_string(size) + "\r\n\r\n" + std::string(size, 'x');
}

TEST(Overload, RefusesBodiesThatTogetherAreTooMuchAndServesTheNext) {
  Router router;
  router.add("POST", "/size", size_of);
  ServerOptions options;
  options.max_buffered_bytes = 10'000;
  TestingServer server(std::move(router), options);
  const std::string refused = exchange_raw(server.port(), post(10'001));
  EXPECT_TRUE(refused.starts_with("HTTP/1.1 503")) << refused;
  EXPECT_TRUE(refused.contains("http.overloaded")) << refused;
  EXPECT_TRUE(refused.contains("\r\nretry-after: 1\r\n")) << refused;
  for (int i = 0; i < 3; ++i) {  // what was counted for the refused one is given back
    EXPECT_TRUE(exchange_raw(server.port(), post(10'000)).contains("\r\nx-size: 10000\r\n"));
  }
}

}  // namespace
}  // namespace alga::httpd
