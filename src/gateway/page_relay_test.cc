#include "gateway/page_relay.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <mutex>
#include <optional>

#include "httpd/testing_server.h"

namespace alga::gateway {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

/// A runner with one page, and a gateway in front of it.
class PageRelayTest : public ::testing::Test {
 protected:
  PageRelayTest() {
    httpd::Router runner;
    runner.add("*", "/{path...}",
               [this](httpd::Request request) { return answer(this, std::move(request)); });
    runner_ = std::make_unique<httpd::TestingServer>(std::move(runner));
    serve({.url = runner_->origin(), .tls = {}});
  }
  void serve(PageRelay::Options options) {
    relay_ = std::make_unique<PageRelay>(std::move(options), client_);
    httpd::Router gateway;
    relay_->add_routes(gateway);
    gateway_ = std::make_unique<httpd::TestingServer>(std::move(gateway));
  }
  static async::Task<httpd::Response> answer(PageRelayTest* test, httpd::Request request) {
    const std::scoped_lock lock(test->mutex_);
    test->asked_ = std::move(request);
    httpd::Response response;
    response.status = test->status_;
    response.set("content-type", "text/html; charset=utf-8");
    response.set("etag", "\"sha256-1\"");
    response.set("cache-control", "public, max-age=31536000, immutable");
    response.set("content-security-policy", "default-src 'self'");
    response.set("set-cookie", "stolen=1");
    response.set("server", "inner");
    response.body = test->status_ == 304 ? "" : "<p>page</p>";
    co_return response;
  }
  std::string get(const std::string& path, const std::string& headers = {},
                  const std::string& method = "GET") {
    return httpd::exchange_raw(gateway_->port(), method + " " + path + " HTTP/1.1\r\nhost: x\r\n" +
                                                     headers + "connection: close\r\n\r\n");
  }
  [[nodiscard]] std::optional<httpd::Request> asked() {
    const std::scoped_lock lock(mutex_);
    return std::exchange(asked_, std::nullopt);
  }

  std::mutex mutex_;
  std::optional<httpd::Request> asked_;
  std::uint16_t status_ = 200;
  NoMetrics metrics_;
  egress::HttpClient client_{
      std::make_shared<egress::CurlLoop>(egress::CurlLoopOptions{}, metrics_)};
  std::unique_ptr<httpd::TestingServer> runner_, gateway_;
  std::unique_ptr<PageRelay> relay_;
};

const std::string page = "/runner/ext-ui/e1/sha256:aa/index.html";

TEST_F(PageRelayTest, ShowsAPageAsTheRunnerGaveIt) {
  const std::string shown = get(page + "?tenant=t1&path=%2Fa");
  EXPECT_THAT(shown, StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(shown, HasSubstr("<p>page</p>"));
  EXPECT_THAT(shown, HasSubstr("content-type: text/html; charset=utf-8"));
  EXPECT_THAT(shown, HasSubstr("content-security-policy: default-src 'self'"));
  EXPECT_THAT(shown, HasSubstr("cache-control: public, max-age=31536000, immutable"));
  const auto seen = asked();
  ASSERT_TRUE(seen);
  EXPECT_EQ(seen->path, page);
  EXPECT_EQ(seen->query, "tenant=t1&path=%2Fa");
}

TEST_F(PageRelayTest, PassesOnWhatChoosesAPageAndNothingThatSaysWhoAsks) {
  const std::string shown =
      get(page,
          "accept-encoding: br\r\nif-none-match: \"sha256-1\"\r\nrange: bytes=0-1\r\n"
          "authorization: Bearer secret\r\ncookie: session=1\r\nx-alga-grant: g\r\n");
  const auto seen = asked();
  ASSERT_TRUE(seen);
  EXPECT_EQ(seen->header("accept-encoding"), "br");
  EXPECT_EQ(seen->header("if-none-match"), "\"sha256-1\"");
  EXPECT_EQ(seen->header("range"), "bytes=0-1");
  for (const char* name : {"authorization", "cookie", "x-alga-grant"}) {
    EXPECT_FALSE(seen->header(name)) << name;
  }
  EXPECT_THAT(shown, Not(HasSubstr("set-cookie")));
  EXPECT_THAT(shown, Not(HasSubstr("inner")));
}

TEST_F(PageRelayTest, AnswersHeadsAndConditions) {
  EXPECT_THAT(get(page, {}, "HEAD"), Not(HasSubstr("<p>")));
  status_ = 304;
  EXPECT_THAT(get(page, "if-none-match: \"sha256-1\"\r\n"), StartsWith("HTTP/1.1 304"));
}

TEST_F(PageRelayTest, ReachesNothingElseOfARunner) {
  for (const char* path :
       {"/runner/healthz", "/runner/metrics", "/runner/v1/execute", "/runner/ext-ui", "/runner/",
        "/runner/ext-ui/e1/sha256:aa/../../../healthz", "/runner/ext-ui/%2e%2e/x/y",
        "/ext-ui/e/h/p"}) {
    const std::string refused = get(path);
    EXPECT_TRUE(refused.starts_with("HTTP/1.1 404") || refused.starts_with("HTTP/1.1 400"))
        << path << ": " << refused;
    EXPECT_FALSE(asked()) << path;
  }
  EXPECT_THAT(get(page, "content-length: 0\r\n", "POST"), StartsWith("HTTP/1.1 405"));
  EXPECT_FALSE(asked());
}

TEST_F(PageRelayTest, SaysWhenTheRunnerIsAwayAndNothingOfIt) {
  serve({.url = "http://127.0.0.1:1", .tls = {}});
  const std::string shown = get(page);
  EXPECT_THAT(shown, StartsWith("HTTP/1.1 502"));
  EXPECT_THAT(shown, HasSubstr("gateway.runner_unreachable"));
  EXPECT_THAT(shown, Not(HasSubstr("127.0.0.1")));
}

TEST_F(PageRelayTest, GivesUpOnARunnerThatTakesTheCallAndSaysNothing) {
  const int silent = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(::bind(silent, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(::listen(silent, 1), 0);
  ASSERT_EQ(::getsockname(silent, reinterpret_cast<sockaddr*>(&address), &size), 0);
  serve({.url = "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port)),
         .tls = {},
         .timeout = std::chrono::milliseconds(100)});
  const std::string shown = get(page);
  EXPECT_THAT(shown, StartsWith("HTTP/1.1 504"));
  EXPECT_THAT(shown, HasSubstr("gateway.runner_timeout"));
  ::close(silent);
}

}  // namespace
}  // namespace alga::gateway
