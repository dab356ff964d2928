#include "egress/http_client.h"

#include <gtest/gtest.h>

#include <future>

#include "async/spawn.h"
#include "base/testing_folder.h"
#include "egress/addresses_of.h"
#include "egress/testing_upstream.h"
#include "httpd/testing_server.h"
#include "tls/testing_authority.h"

namespace alga::egress {
namespace {

using namespace std::chrono_literals;

NoMetrics no_metrics;

async::Task<httpd::Response> echo(httpd::Request request) {
  httpd::Response response;
  response.body = request.method + " " + request.body;
  for (const std::string& name : request.peer.certificate_names) response.body += " " + name;
  co_return response;
}

async::Task<httpd::Response> tell_depth(httpd::Request request) {
  httpd::Response response;
  response.body = request.header("x-alga-depth").value_or("none");
  co_return response;
}

async::Task<httpd::Response> missing(httpd::Request) {
  httpd::Response response;
  response.status = 404;
  response.body = "nothing here";
  co_return response;
}

httpd::Router routes() {
  httpd::Router router;
  router.add("*", "/echo", {.max_body = 8U << 20U}, echo);
  router.add("GET", "/depth", tell_depth);
  router.add("GET", "/missing", missing);
  return router;
}

class HttpClientTest : public ::testing::Test {
 protected:
  ClientRequest to(const std::string& path) { return {.url = server_.origin() + path}; }

  alga::testing::TestingFolder folder_;
  httpd::TestingServer server_{routes()};
  std::shared_ptr<CurlLoop> loop_ = std::make_shared<CurlLoop>(CurlLoopOptions{}, no_metrics);
  HttpClient client_{loop_};
};

TEST_F(HttpClientTest, TellsTheOtherSideHowDeepARequestStands) {
  // Gateways tell runners, ui-proxy tells the host application: else a loop through them never
  // ends.
  ClientRequest deep = to("/depth");
  deep.headers.push_back({"x-alga-depth", "3"});
  EXPECT_EQ(client_.send_blocking(std::move(deep))->body, "3");
  EXPECT_EQ(client_.send_blocking(to("/depth"))->body, "none");
}

TEST_F(HttpClientTest, AnswersInThreeWays) {
  ClientRequest post = to("/echo");
  post.method = "POST";
  post.body = "hi";
  EXPECT_EQ(client_.send_blocking(post)->body, "POST hi");
  EXPECT_EQ(async::block_on(client_.fetch(post))->body, "POST hi");
  std::promise<Result<domain::HttpResponse>> promise;
  client_.send(post, [&](Result<domain::HttpResponse> outcome) { promise.set_value(outcome); });
  EXPECT_EQ(promise.get_future().get()->body, "POST hi");
}

TEST_F(HttpClientTest, EndsABlockingRequestThatIsToldToStop) {
  std::stop_source stop;
  // Takes the request, and by then is told to stop; never answers.
  TestingUpstream silent{[&](TestingUpstream::Connection& connection) {
    connection.read_head();
    stop.request_stop();
    connection.wait_closed();
  }};
  ClientRequest request{.url = "http://127.0.0.1:" + std::to_string(silent.port()) + "/",
                        .timeout = 1h,
                        .stop = stop.get_token()};
  const auto ended = client_.send_blocking(request);
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error().code, "egress.cancelled");
  EXPECT_EQ(client_.send_blocking(request).error().code, "egress.cancelled") << "and later ones";
  EXPECT_EQ(client_.send_blocking(to("/missing"))->status, 404) << "others go on";
}

TEST_F(HttpClientTest, TakesEveryStatusForAnAnswer) {
  auto response = client_.send_blocking(to("/missing"));
  EXPECT_EQ(response->status, 404);
  EXPECT_EQ(response->body, "nothing here");
}

TEST_F(HttpClientTest, SendsFiles) {
  ClientRequest upload = to("/echo");
  upload.method = "PUT";
  upload.body_file = folder_.put("upload", std::string(3'000'000, 'f'));
  EXPECT_EQ(client_.send_blocking(upload)->body, "PUT " + std::string(3'000'000, 'f'));
  upload.body_file = folder_.path("none");
  EXPECT_EQ(client_.send_blocking(upload).error().code, "egress.no_body_file");
}

TEST_F(HttpClientTest, StreamsIntoASinkThatMayStopIt) {
  ClientRequest post = to("/echo");
  post.method = "POST";
  post.body = std::string(100'000, 'x');
  std::size_t bytes = 0;
  auto response = client_.send_blocking(post, [&](ByteSpan piece) -> Status {
    bytes += piece.size();
    return {};
  });
  EXPECT_EQ(bytes, 100'005U);
  EXPECT_FALSE(response->body.has_value());
  auto stopped = client_.send_blocking(
      post, [](ByteSpan) -> Status { return fail(Kind::unavailable, "test.disk_full"); });
  EXPECT_EQ(stopped.error().code, "test.disk_full");
}

TEST_F(HttpClientTest, BoundsAnswersAndTime) {
  ClientRequest post = to("/echo");
  post.method = "POST";
  post.body = "123456";
  post.max_response_bytes = 10;
  EXPECT_EQ(client_.send_blocking(post).error().code, "egress.too_large");
  EXPECT_EQ(async::block_on(client_.fetch(post)).error().code, "egress.too_large");
  ClientRequest late = to("/echo");
  late.timeout = 0ms;
  EXPECT_EQ(client_.send_blocking(late).error().code, "egress.timeout");
}

TEST_F(HttpClientTest, TellsWhatCannotBeReached) {
  ClientRequest refused{.url = "http://127.0.0.1:1/"};
  EXPECT_EQ(client_.send_blocking(refused).error().code, "egress.transport");
  ClientRequest scheme{.url = "file:///etc/passwd"};
  EXPECT_EQ(client_.send_blocking(scheme).error().code, "egress.invalid_url");
}

TEST_F(HttpClientTest, ShowsItsCertificate) {
  tls::TestingAuthority authority;
  const tls::TestingIdentity server = authority.issue({"DNS:localhost"});
  const tls::TestingIdentity client = authority.issue({"URI:spiffe://alga/runner-1"});
  httpd::ServerOptions options;
  options.tls = tls::ServerContext::load(
                    {.certificate_chain = folder_.put("s.pem", server.certificate),
                     .private_key = folder_.put("s.key", server.private_key),
                     .client_authorities = folder_.put("ca.pem", authority.certificate()),
                     .require_client_certificate = true})
                    .value();
  httpd::TestingServer mutual(routes(), options);
  ClientRequest request{.url = mutual.origin() + "/echo"};
  request.tls = {.authorities_file = folder_.path("ca.pem"),
                 .certificate_file = folder_.put("c.pem", client.certificate),
                 .key_file = folder_.put("c.key", client.private_key)};
  EXPECT_EQ(client_.send_blocking(request)->body, "GET  spiffe://alga/runner-1");
  EXPECT_EQ(async::block_on(client_.fetch(request))->body, "GET  spiffe://alga/runner-1");
  // An address in place of the name changes nothing about whose certificate is believed.
  ClientRequest pinned = request;
  pinned.address = "127.0.0.1";
  EXPECT_EQ(client_.send_blocking(pinned)->status, 200);
  pinned.url = "https://another.example.com:" + std::to_string(mutual.port()) + "/echo";
  EXPECT_EQ(client_.send_blocking(pinned).error().code, "egress.transport");
  request.tls.certificate_file.clear();
  EXPECT_EQ(client_.send_blocking(request).error().code, "egress.transport");
}

TEST_F(HttpClientTest, ReadsItsAuthoritiesAgainWhenTheirFileIsReplaced) {
  tls::TestingAuthority former, next;
  auto server_of = [&](tls::TestingAuthority& authority, const std::string& name) {
    const tls::TestingIdentity identity = authority.issue({"DNS:localhost"});
    httpd::ServerOptions options;
    options.tls = tls::ServerContext::load(
                      {.certificate_chain = folder_.put(name + ".pem", identity.certificate),
                       .private_key = folder_.put(name + ".key", identity.private_key)})
                      .value();
    return options;
  };
  httpd::TestingServer old_one(routes(), server_of(former, "old"));
  httpd::TestingServer new_one(routes(), server_of(next, "new"));
  const egress::ClientTls tls{.authorities_file = folder_.put("ca.pem", former.certificate())};
  ClientRequest to_old{.url = old_one.origin() + "/echo", .tls = tls};
  ClientRequest to_new{.url = new_one.origin() + "/echo", .tls = tls};
  EXPECT_EQ(client_.send_blocking(to_old)->status, 200);
  EXPECT_EQ(client_.send_blocking(to_new).error().code, "egress.transport");

  folder_.put("ca.pem", next.certificate());
  EXPECT_TRUE(client_.send_blocking(to_new).has_value());
}

TEST_F(HttpClientTest, ConnectsToTheAddressThatItIsTold) {
  // The same name and port, two servers: a kept connection to one is not used for the other.
  httpd::Router only_second;
  only_second.add("GET", "/depth", [](httpd::Request) -> async::Task<httpd::Response> {
    httpd::Response response;
    response.body = "second";
    co_return response;
  });
  httpd::TestingServer second(std::move(only_second),
                              {.address = "127.0.0.2", .port = server_.port()});
  const auto ask = [&](const std::string& address) {
    const std::string port = std::to_string(server_.port());
    ClientRequest request{.url = "http://several.example.com:" + port + "/depth",
                          .address = address};
    return client_.send_blocking(std::move(request));
  };
  for (int round = 0; round < 2; ++round) {
    const auto from_first = ask("127.0.0.1");
    ASSERT_TRUE(from_first) << from_first.error().message;
    EXPECT_EQ(from_first->body, "none");
    const auto from_second = ask("127.0.0.2");
    ASSERT_TRUE(from_second) << from_second.error().message;
    EXPECT_EQ(from_second->body, "second");
  }
  const auto nobody = ask("::1");
  ASSERT_FALSE(nobody);
  EXPECT_EQ(nobody.error().code, "egress.transport");
}

TEST(AddressesOf, FindsServersBehindOneNameOnly) {
  using Addresses = std::vector<std::string>;
  EXPECT_EQ(several_servers({}), Addresses{});
  EXPECT_EQ(several_servers({"10.0.0.1"}), Addresses{});
  EXPECT_EQ(several_servers({"::1", "127.0.0.1"}), Addresses{}) << "one server, two families";
  EXPECT_EQ(several_servers({"10.0.0.2", "10.0.0.1", "10.0.0.2"}),
            (Addresses{"10.0.0.2", "10.0.0.1"}));
  EXPECT_EQ(several_servers({"fd00::1", "fd00::2", "10.0.0.1", "10.0.0.2"}),
            (Addresses{"fd00::1", "fd00::2"}));
  EXPECT_EQ(several_servers({"fd00::1", "10.0.0.1", "10.0.0.2"}),
            (Addresses{"10.0.0.1", "10.0.0.2"}));
  Addresses many;
  for (int i = 0; i < 200; ++i) many.push_back("10.0.0." + std::to_string(i));
  EXPECT_EQ(several_servers(many).size(), 64U);
}

TEST(AddressesOf, AsksTheSystem) {
  for (const char* url : {"https://127.0.0.1:8443", "https://[::1]:8443/", "http://localhost/x"}) {
    const auto addresses = addresses_of(url);
    ASSERT_TRUE(addresses) << url << ": " << addresses.error().message;
    EXPECT_TRUE(addresses->empty()) << url;
  }
  EXPECT_EQ(addresses_of("no url").error().code, "egress.invalid_url");
  EXPECT_EQ(addresses_of("http://nobody.invalid/").error().code, "egress.transport");
}

}  // namespace
}  // namespace alga::egress
