#include <gtest/gtest.h>

#include <functional>
#include <thread>

#include "egress/testing_client.h"
#include "egress/testing_upstream.h"

namespace alga::egress {
namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;
using domain::EgressRequest;
using domain::HttpResponse;

class Hostile : public ::testing::Test {
 protected:
  /// What a fetch from an upstream with this script comes to.
  static Result<HttpResponse> fetch(TestingUpstream::Script script,
                                    std::function<void(EgressRequest&)> change = {}) {
    TestingUpstream upstream(std::move(script));
    TestingClient client;
    EgressRequest request = request_to("http://127.0.0.1:" + std::to_string(upstream.port()) + "/",
                                       loopback(upstream.port()));
    if (change) change(request);
    return client.fetch(std::move(request));
  }
  static Result<HttpResponse> fetch_text(std::string text,
                                         std::function<void(EgressRequest&)> change = {}) {
    return fetch(
        [text = std::move(text)](TestingUpstream::Connection& connection) {
          if (connection.read_head()) connection.write(text);
        },
        std::move(change));
  }
  static void small(EgressRequest& request) { request.max_response_bytes = 1000; }
};

TEST_F(Hostile, BodiesAreCappedHoweverTheyCome) {
  EXPECT_EQ(fetch_text("HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n", small).error().code,
            "egress.too_large");
  auto endless = [](TestingUpstream::Connection& connection) {
    if (!connection.read_head()) return;
    connection.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    while (connection.write("64\r\n" + std::string(100, 'x') + "\r\n")) {
    }
  };
  EXPECT_EQ(fetch(endless, small).error().code, "egress.too_large");
  auto until_close = [](TestingUpstream::Connection& connection) {
    if (!connection.read_head()) return;
    connection.write("HTTP/1.0 200 OK\r\n\r\n");
    while (connection.write(std::string(100, 'x'))) {
    }
  };
  EXPECT_EQ(fetch(until_close, small).error().code, "egress.too_large");
  EXPECT_EQ(
      fetch_text("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + std::string(1000, 'x'), small)
          ->body->size(),
      1000U);
}

TEST_F(Hostile, CompressedBodiesStayCompressed) {
  auto response = fetch_text(
      "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x01");
  ASSERT_TRUE(response.has_value());
  EXPECT_EQ(response->body, "\x1f\x8b\x08\x01");
  EXPECT_EQ(domain::find_header(response->headers, "content-encoding"), "gzip");
}

TEST_F(Hostile, HeadersAreCappedInNumberAndBytes) {
  std::string many = "HTTP/1.1 200 OK\r\n";
  for (int i = 0; i < 101; ++i) many += "x-" + std::to_string(i) + ": 1\r\n";
  EXPECT_EQ(fetch_text(many + "Content-Length: 0\r\n\r\n").error().code, "egress.too_many_headers");
  EXPECT_EQ(
      fetch_text("HTTP/1.1 200 OK\r\nx: " + std::string(70'000, 'x') + "\r\n\r\n").error().code,
      "egress.headers_too_large");
  auto interim = [](TestingUpstream::Connection& connection) {
    if (!connection.read_head()) return;
    while (connection.write("HTTP/1.1 102 Processing\r\nx-a: 1\r\n\r\n")) {
    }
  };
  EXPECT_EQ(fetch(interim).error().code, "egress.headers_too_large");
  auto trailers = [](TestingUpstream::Connection& connection) {
    if (!connection.read_head()) return;
    connection.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n");
    while (connection.write("x-trailer: " + std::string(100, 'x') + "\r\n")) {
    }
  };
  EXPECT_EQ(fetch(trailers).error().code, "egress.headers_too_large");
}

TEST_F(Hostile, InterimAnswersAndTrailersAreNotTheAnswer) {
  auto response = fetch_text(
      "HTTP/1.1 103 Early Hints\r\nx-early: 1\r\n\r\nHTTP/1.1 200 OK\r\nx-late: 1\r\n"
      "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-trailer: 1\r\n\r\n");
  ASSERT_TRUE(response.has_value());
  EXPECT_EQ(response->body, "hi");
  EXPECT_FALSE(domain::find_header(response->headers, "x-early"));
  EXPECT_TRUE(domain::find_header(response->headers, "x-late"));
  EXPECT_FALSE(domain::find_header(response->headers, "x-trailer"));
}

TEST_F(Hostile, MalformedAnswersAreErrors) {
  for (const std::string& text :
       {std::string("not http at all\r\n\r\n"), std::string("HTTP/1.1 099 Low\r\n\r\n"),
        std::string("HTTP/1.1 200 OK\r\nno colon here\r\n\r\n"),
        std::string("HTTP/1.1 200 OK\r\nx a: b\r\n\r\n"),
        std::string("HTTP/1.1 200 OK\r\nx-a: b\r\n folded\r\n\r\n"),
        std::string("HTTP/1.1 200 OK\r\nx-a: b\x01\r\n\r\n"),
        "HTTP/1.1 200 OK\r\nx-a: b\0c\r\n\r\n"s,
        std::string("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc"), std::string()}) {
    auto response = fetch_text(text);
    ASSERT_FALSE(response.has_value()) << text;
    EXPECT_EQ(response.error().code, "egress.transport") << text;
    EXPECT_EQ(response.error().kind, Kind::bad_gateway);
  }
}

TEST_F(Hostile, SilenceAndDripsEndAtTheDeadline) {
  auto soon = [](EgressRequest& request) {
    request.deadline = std::chrono::steady_clock::now() + 60ms;
  };
  auto silent = [](TestingUpstream::Connection& connection) { connection.wait_closed(); };
  EXPECT_EQ(fetch(silent, soon).error().code, "egress.timeout");
  auto drip = [](TestingUpstream::Connection& connection) {
    if (!connection.read_head()) return;
    connection.write("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
    while (connection.write("x")) std::this_thread::sleep_for(2ms);
  };
  EXPECT_EQ(fetch(drip, soon).error().code, "egress.timeout");
  EXPECT_EQ(fetch_text("HTTP/1.1 200 OK\r\n\r\n",
                       [](EgressRequest& request) {
                         request.deadline = std::chrono::steady_clock::now() - 1ms;
                       })
                .error()
                .code,
            "egress.timeout");
}

}  // namespace
}  // namespace alga::egress
