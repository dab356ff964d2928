#include "egress/curl_egress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <future>
#include <latch>

#include "async/deadline.h"
#include "base/testing_folder.h"
#include "egress/testing_client.h"
#include "egress/testing_upstream.h"
#include "httpd/testing_server.h"
#include "tls/testing_authority.h"

namespace alga::egress {
namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;
using domain::EgressRequest;
using domain::HttpResponse;

std::atomic<int> hits{0};

/// Tells what arrived: the request line, the fields, a blank line and the body.
async::Task<httpd::Response> mirror(httpd::Request request) {
  ++hits;
  httpd::Response response;
  response.body = request.method + " " + request.path + "?" + request.query + "\n";
  for (const domain::Header& field : request.headers) {
    response.body += to_lower(field.name) + ": " + field.value + "\n";
  }
  response.body += "\n" + request.body;
  response.headers.push_back({"x-twice", "1"});
  response.headers.push_back({"x-twice", "2"});
  co_return response;
}

async::Task<httpd::Response> redirect(httpd::Request) {
  httpd::Response response;
  response.status = 302;
  response.set("location", "http://169.254.169.254/latest/meta-data");
  co_return response;
}

httpd::Router mirrors() {
  httpd::Router router;
  router.add("GET", "/redirect", redirect);
  router.add("*", "/{path...}", {.max_body = 1U << 20U}, mirror);
  return router;
}

class CurlEgressTest : public ::testing::Test {
 protected:
  CurlEgressTest() { hits = 0; }
  std::string url(const std::string& path = "/a") { return server_.origin() + path; }
  EgressRequest request(const std::string& path = "/a") {
    return request_to(url(path), loopback(server_.port()));
  }

  httpd::TestingServer server_{mirrors()};
  TestingClient client_;
};

TEST_F(CurlEgressTest, FetchesWhatThePolicyAllows) {
  auto response = client_.fetch(request("/a?b=c"));
  ASSERT_TRUE(response.has_value()) << response.error().message;
  EXPECT_EQ(response->status, 200);
  EXPECT_TRUE(response->body.value().starts_with("GET /a?b=c\n"));
  EXPECT_EQ(std::ranges::count_if(response->headers,
                                  [](const auto& field) { return field.name == "x-twice"; }),
            2);
}

TEST_F(CurlEgressTest, AddsNothingButTheDepthToTheRequest) {
  auto response = client_.fetch(request());
  EXPECT_EQ(response->body.value(),
            "GET /a?\nhost: 127.0.0.1:" + std::to_string(server_.port()) + "\nx-alga-depth: 1\n\n");
}

TEST_F(CurlEgressTest, SendsMethodsAndBodies) {
  for (const char* method : {"POST", "PUT", "PATCH", "DELETE", "get", "QUERY"}) {
    EgressRequest sent = request();
    sent.http.method = method;
    sent.http.body = "some\0bytes"s;
    auto response = client_.fetch(std::move(sent));
    ASSERT_TRUE(response.has_value()) << method;
    EXPECT_TRUE(response->body.value().ends_with("\n\nsome\0bytes"s)) << *response->body;
    EXPECT_TRUE(response->body.value().contains("content-length: 10\n"));
  }
  EgressRequest empty = request();
  empty.http.method = "POST";
  EXPECT_TRUE(client_.fetch(std::move(empty))->body.value().contains("content-length: 0\n"));
  EgressRequest head = request();
  head.http.method = "HEAD";
  auto response = client_.fetch(std::move(head));
  EXPECT_EQ(response->status, 200);
  EXPECT_FALSE(response->body.has_value());
}

TEST_F(CurlEgressTest, StripsWhatBelongsToTheConnection) {
  EgressRequest sent = request();
  sent.http.headers = {{"Host", "evil.example"},
                       {"Transfer-Encoding", "chunked"},
                       {"Content-Length", "999"},
                       {"TE", "trailers"},
                       {"Connection", "keep-alive, X-Hop"},
                       {"X-Hop", "1"},
                       {"Upgrade", "h2c"},
                       {"HTTP2-Settings", "x"},
                       {"Expect", "100-continue"},
                       {"Proxy-Authorization", "Basic x"},
                       {"Keep-Alive", "5"},
                       {"Trailer", "x"},
                       {"X-Kept", "yes"},
                       {"X-Empty", ""}};
  auto response = client_.fetch(std::move(sent));
  ASSERT_TRUE(response.has_value());
  EXPECT_EQ(response->body.value(), "GET /a?\nhost: 127.0.0.1:" + std::to_string(server_.port()) +
                                        "\nx-kept: yes\nx-empty: \nx-alga-depth: 1\n\n");
}

TEST_F(CurlEgressTest, RefusesInjectedHeadersAndMethods) {
  for (const auto& [name, value] :
       std::vector<std::pair<std::string, std::string>>{{"X-A", "b\r\nX-B: c"},
                                                        {"X-A", "b\nc"},
                                                        {"X-A", "b\0c"s},
                                                        {"X-A: b\r\nX-B", "c"},
                                                        {"X A", "b"},
                                                        {"", "b"}}) {
    EgressRequest sent = request();
    sent.http.headers = {{name, value}};
    EXPECT_EQ(client_.code(std::move(sent)), "egress.invalid_request");
  }
  for (const char* method : {"", "GET /x", "GET\r\nHost: b", "CONNECT", "trace", "TRACK"}) {
    EgressRequest sent = request();
    sent.http.method = method;
    EXPECT_EQ(client_.code(std::move(sent)), "egress.invalid_request") << method;
  }
  EXPECT_EQ(hits, 0);
}

TEST_F(CurlEgressTest, SendsAsManyHeadersAsTheLimitsSay) {
  const auto sent = [&](std::size_t fields, std::size_t bytes, domain::HeaderLimits limits) {
    EgressRequest out = request();
    out.http.headers.assign(fields, {"X-A", std::string(bytes, 'b')});
    out.header_limits = limits;
    return client_.code(std::move(out));
  };
  EXPECT_EQ(sent(101, 1, {}), "egress.too_many_headers");
  EXPECT_EQ(sent(3, 1, {.fields = 2}), "egress.too_many_headers");
  EXPECT_EQ(sent(10, 37, {.bytes = 399}), "egress.headers_too_large");
  EXPECT_EQ(sent(1, 70'000, {}), "egress.headers_too_large");
  EXPECT_EQ(hits, 0);
  EXPECT_EQ(sent(10, 37, {.fields = 10, .bytes = 400}), "ok");
  EXPECT_EQ(hits, 1);
  EXPECT_EQ(sent(101, 1, {.fields = 101}), "ok") << "though that server refuses it";
}

TEST_F(CurlEgressTest, DeniesWithoutARuleOrAPolicy) {
  EXPECT_EQ(client_.code(request_to(url(), policy({}))), "egress.denied");
  EXPECT_EQ(client_.code(request_to(url(), nullptr)), "egress.denied");
  EXPECT_EQ(client_.code(request_to(url(), policy({"https://api.example.com"}))), "egress.denied");
  EXPECT_EQ(hits, 0);
}

TEST_F(CurlEgressTest, KeepsGuestsFromTheAddressesOfThisInstallation) {
  const std::string port = std::to_string(server_.port());
  const auto own = [](std::string_view text) { return *domain::parse_address(text); };
  TestingClient there(
      {.fixed_addresses = {"own.example.com:" + port + ":93.184.216.34",
                           "mapped.example.com:" + port + ":[::ffff:93.184.216.34]"},
       .own_addresses = {own("93.184.216.34"), own("127.0.0.1")}});
  for (const char* name : {"own.example.com", "mapped.example.com", "93.184.216.34"}) {
    EXPECT_EQ(there.code(request_to("http://" + std::string(name) + ":" + port + "/",
                                    policy({"http://*:" + port}))),
              "egress.denied")
        << name;
  }
  EXPECT_EQ(there.code(request()), "ok") << "an operator's rule names the address";
  EXPECT_FALSE(interface_addresses().empty());
}

TEST_F(CurlEgressTest, SaysHowManyExtensionsStandBehindARequest) {
  auto asked = request();
  asked.depth = 3;
  asked.http.headers = {{"X-Alga-Depth", "0"}};
  const auto response = client_.fetch(std::move(asked));
  ASSERT_TRUE(response.has_value());
  EXPECT_THAT(*response->body, ::testing::HasSubstr("\nx-alga-depth: 3\n"));
  EXPECT_THAT(*response->body, ::testing::Not(::testing::HasSubstr("x-alga-depth: 0")));
}

TEST_F(CurlEgressTest, DeniesNamesThatResolveToLoopbackWithoutConsent) {
  const std::string port = std::to_string(server_.port());
  TestingClient pinned({.fixed_addresses = {"api.example.com:" + port + ":127.0.0.1",
                                            "six.example.com:" + port + ":[::1]",
                                            "mapped.example.com:" + port + ":[::ffff:127.0.0.1]",
                                            "nat64.example.com:" + port + ":[64:ff9b::7f00:1]",
                                            "zero.example.com:" + port + ":0.0.0.0",
                                            "meta.example.com:" + port + ":169.254.169.254",
                                            "ten.example.com:" + port + ":10.0.0.1"}});
  for (const char* name : {"api", "six", "mapped", "nat64", "zero", "meta", "ten"}) {
    EXPECT_EQ(pinned.code(request_to("http://" + std::string(name) + ".example.com:" + port + "/",
                                     policy({"http://*.example.com:" + port}))),
              "egress.denied")
        << name;
  }
  EXPECT_EQ(pinned.code(
                request_to("http://localhost:" + port + "/", policy({"http://localhost:" + port}))),
            "egress.denied");
  EXPECT_EQ(hits, 0);

  EXPECT_EQ(pinned.code(request_to(
                "http://api.example.com:" + port + "/",
                policy({"http://api.example.com:" + port, "cidr:127.0.0.1/32:" + port}))),
            "ok");
  EXPECT_EQ(hits, 1);
}

TEST_F(CurlEgressTest, ConnectsOnlyToTheJudgedOnesOfSeveralAddresses) {
  const std::string port = std::to_string(server_.port());
  TestingClient pinned({.fixed_addresses = {"mixed.example.com:" + port + ":127.0.0.2,127.0.0.1"}});
  const std::string target = "http://mixed.example.com:" + port + "/";
  const std::string rule = "http://mixed.example.com:" + port;
  EXPECT_EQ(pinned.code(request_to(target, policy({rule, "cidr:127.0.0.1/32"}))), "ok");
  EXPECT_EQ(hits, 1);
  // The server does not listen on the address that is allowed now, and the other one is not tried.
  EXPECT_EQ(pinned.code(request_to(target, policy({rule, "cidr:127.0.0.2/32"}))),
            "egress.transport");
  EXPECT_EQ(hits, 1);
}

TEST_F(CurlEgressTest, RefusesEveryDisguiseOfLoopback) {
  const std::string port = std::to_string(server_.port());
  auto any = policy({"http://*:" + port, "http://*:80", "https://*:443"});
  for (const std::string& host : {"127.0.0.1",
                                  "0.0.0.0",
                                  "[::1]",
                                  "[::]",
                                  "[::ffff:127.0.0.1]",
                                  "[::127.0.0.1]",
                                  "[64:ff9b::7f00:1]",
                                  "[2002:7f00:1::]",
                                  "[2001::1]",
                                  "[fe80::1%25eth0]",
                                  "[fd00:ec2::254]",
                                  "169.254.169.254",
                                  "100.64.0.1",
                                  "10.0.0.1",
                                  "172.16.0.1",
                                  "192.168.0.1",
                                  "192.0.0.1",
                                  "198.18.0.1",
                                  "224.0.0.1",
                                  "240.0.0.1",
                                  "255.255.255.255",
                                  "2130706433",
                                  "0177.0.0.1",
                                  "0x7f000001",
                                  "127.1",
                                  "127.0.0.1.",
                                  "%31%32%37.0.0.1",
                                  "a@127.0.0.1",
                                  "127.0.0.1\\x",
                                  "\xef\xbc\x91\xef\xbc\x92\xef\xbc\x97.0.0.1",
                                  "localhost",
                                  "a\tb",
                                  "127.0.0.1\n"}) {
    const auto code = client_.code(request_to("http://" + host + ":" + port + "/", any));
    EXPECT_TRUE(code == "egress.denied" || code == "egress.invalid_url") << host << " " << code;
  }
  for (const std::string& bad :
       std::vector<std::string>{"file:///etc/passwd", "gopher://127.0.0.1/", "ws://127.0.0.1/",
                                "http://127.0.0.1:0/", "http://127.0.0.1:65536/", "//127.0.0.1/",
                                "http:127.0.0.1", "", "dict://x:1/", "http://"}) {
    const auto code = client_.code(request_to(bad, any));
    EXPECT_TRUE(code == "egress.denied" || code == "egress.invalid_url") << bad << " " << code;
  }
  EXPECT_EQ(hits, 0);
}

TEST_F(CurlEgressTest, ReturnsRedirectsInsteadOfFollowingThem) {
  auto response = client_.fetch(request("/redirect"));
  ASSERT_TRUE(response.has_value());
  EXPECT_EQ(response->status, 302);
  EXPECT_EQ(domain::find_header(response->headers, "location"),
            "http://169.254.169.254/latest/meta-data");
}

TEST_F(CurlEgressTest, IgnoresProxiesOfTheEnvironment) {
  ::setenv("http_proxy", "http://127.0.0.1:1", 1);
  EXPECT_EQ(client_.code(request()), "ok");
  ::unsetenv("http_proxy");
}

constexpr int kAtOnce = 1000;

/// Answers when all have asked.
async::Task<httpd::Response> answer_together(httpd::Request request, std::atomic<int>* asked) {
  const SystemClock clock;
  for (++*asked; *asked < kAtOnce;) co_await async::sleep_for(&clock, 20ms);
  httpd::Response response;
  response.body = request.path;
  co_return response;
}

TEST(Concurrency, WaitsForAThousandSlowAnswersOnOneThread) {
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;  // both ends of each connection are ours
  ::setrlimit(RLIMIT_NOFILE, &files);
  if (files.rlim_cur < 3000) GTEST_SKIP() << "needs 3000 file descriptors";

  std::atomic<int> asked = 0;
  httpd::Router router;
  router.add("GET", "/{path...}", [&asked](httpd::Request request) {
    return answer_together(std::move(request), &asked);
  });
  httpd::TestingServer server(std::move(router));
  TestingClient client;
  std::vector<std::future<Result<HttpResponse>>> all;
  for (int i = 0; i < kAtOnce; ++i) {
    EgressRequest one =
        request_to(server.origin() + "/" + std::to_string(i), loopback(server.port()));
    one.deadline = std::chrono::steady_clock::now() + 5min;
    all.push_back(client.start(std::move(one)));
  }
  for (int i = 0; i < kAtOnce; ++i) {
    auto response = all[static_cast<std::size_t>(i)].get();
    ASSERT_TRUE(response.has_value()) << response.error().message;
    EXPECT_EQ(response->body, "/" + std::to_string(i));
  }
}

// Connections.

/// Answers any number of requests on each connection.
void keep_alive(TestingUpstream::Connection& connection) {
  while (connection.read_head()) {
    connection.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
  }
}

TEST(Pools, AreSharedOnlyWithinOnePartitionAndPolicy) {
  TestingUpstream upstream(keep_alive);
  TestingClient client;
  const std::string url = "http://127.0.0.1:" + std::to_string(upstream.port()) + "/";
  auto send = [&](const std::string& partition, const std::vector<std::string>& more) {
    std::vector<std::string> rules = more;
    rules.push_back("cidr:127.0.0.1/32:" + std::to_string(upstream.port()));
    rules.push_back("http://127.0.0.1:" + std::to_string(upstream.port()));
    EgressRequest request = request_to(url, policy(rules));
    request.partition = partition;
    ASSERT_EQ(client.code(std::move(request)), "ok");
  };
  send("a", {});
  send("a", {});
  EXPECT_EQ(upstream.accepted(), 1);
  send("b", {});
  EXPECT_EQ(upstream.accepted(), 2);
  send("a", {"https://api.example.com"});
  EXPECT_EQ(upstream.accepted(), 3);
  send("b", {});
  EXPECT_EQ(upstream.accepted(), 3);
}

TEST(Pools, AreClosedWhenThereAreTooMany) {
  TestingUpstream upstream(keep_alive);
  TestingClient client({}, {.max_pools = 2});
  for (int i = 0; i < 20; ++i) {
    EgressRequest request = request_to("http://127.0.0.1:" + std::to_string(upstream.port()) + "/",
                                       loopback(upstream.port()));
    request.partition = std::to_string(i % 5);
    EXPECT_EQ(client.code(std::move(request)), "ok");
  }
  EXPECT_EQ(upstream.accepted(), 20);
}

TEST(Limits, RefuseMoreRequestsThanMayBeInFlight) {
  std::latch arrived(1);
  TestingUpstream upstream([&](TestingUpstream::Connection& connection) {
    if (!connection.read_head()) return;
    arrived.count_down();
    connection.wait_closed();
  });
  TestingClient client({}, {.max_in_flight = 1});
  auto request = [&] {
    return request_to("http://127.0.0.1:" + std::to_string(upstream.port()) + "/",
                      loopback(upstream.port()));
  };
  std::uint64_t id = 0;
  auto first = client.start(request(), &id);
  arrived.wait();
  EXPECT_EQ(client.code(request()), "egress.overloaded");
  client.egress().cancel(id);
  EXPECT_EQ(first.get().error().code, "egress.cancelled");
  client.egress().cancel(id);
  client.egress().cancel(424242);
}

TEST(Limits, LetTransfersWaitForTheirNameLookup) {
  TestingUpstream upstream(keep_alive);
  auto request = [&] {
    return request_to("http://127.0.0.1:" + std::to_string(upstream.port()) + "/",
                      loopback(upstream.port()));
  };
  TestingClient one_by_one({}, {.max_lookups = 1, .max_pool_lookups = 1});
  std::vector<std::future<Result<HttpResponse>>> all;
  for (int i = 0; i < 50; ++i) all.push_back(one_by_one.start(request()));
  for (auto& future : all) EXPECT_TRUE(future.get().has_value());

  TestingClient never({}, {.max_pool_lookups = 0});
  EgressRequest late = request();
  late.deadline = std::chrono::steady_clock::now() + 30ms;
  EXPECT_EQ(never.code(std::move(late)), "egress.timeout");
  std::uint64_t id = 0;
  auto waiting = never.start(request(), &id);
  never.egress().cancel(id);
  EXPECT_EQ(waiting.get().error().code, "egress.cancelled");
}

TEST(Limits, FreeTheLookupsOfTransfersThatFail) {
  CurlEgressOptions pinned;
  for (int i = 0; i < 10; ++i) {
    pinned.fixed_addresses.push_back("name-" + std::to_string(i) + ".example.com:80:10.0.0.1");
  }
  TestingClient client(pinned, {.max_lookups = 2, .max_pool_lookups = 2});
  std::vector<std::future<Result<HttpResponse>>> all;
  for (int i = 0; i < 10; ++i) {
    all.push_back(client.start(request_to("http://name-" + std::to_string(i) + ".example.com/",
                                          policy({"http://*.example.com"}))));
  }
  for (auto& future : all) EXPECT_EQ(future.get().error().code, "egress.denied");
}

TEST(Shutdown, CancelsWhatIsInFlight) {
  TestingUpstream upstream(
      [](TestingUpstream::Connection& connection) { connection.wait_closed(); });
  std::future<Result<HttpResponse>> pending;
  {
    TestingClient client;
    pending = client.start(request_to("http://127.0.0.1:" + std::to_string(upstream.port()) + "/",
                                      loopback(upstream.port())));
  }
  EXPECT_EQ(pending.get().error().code, "egress.cancelled");
}

// TLS.

class TlsEgress : public ::testing::Test {
 protected:
  TlsEgress() { folder_.put("ca.pem", authority_.certificate()); }

  std::unique_ptr<httpd::TestingServer> serve(const tls::TestingIdentity& identity) {
    httpd::ServerOptions options;
    options.tls =
        tls::ServerContext::load({.certificate_chain = folder_.put("c.pem", identity.certificate),
                                  .private_key = folder_.put("k.pem", identity.private_key)})
            .value();
    return std::make_unique<httpd::TestingServer>(mirrors(), options);
  }
  Result<HttpResponse> fetch(std::uint16_t port, CurlEgressOptions options) {
    TestingClient client(std::move(options));
    return client.fetch(
        request_to("https://localhost:" + std::to_string(port) + "/", loopback(port, "https")));
  }

  alga::testing::TestingFolder folder_;
  tls::TestingAuthority authority_;
};

TEST_F(TlsEgress, VerifiesCertificates) {
  auto good = serve(authority_.issue({"DNS:localhost"}));
  auto response = fetch(good->port(), {.authorities_file = folder_.path("ca.pem")});
  ASSERT_TRUE(response.has_value()) << response.error().message;
  EXPECT_EQ(response->status, 200);
  EXPECT_EQ(fetch(good->port(), {}).error().code, "egress.transport");

  auto other_name = serve(authority_.issue({"DNS:elsewhere.example"}));
  EXPECT_EQ(fetch(other_name->port(), {.authorities_file = folder_.path("ca.pem")}).error().code,
            "egress.transport");
  auto expired = serve(authority_.issue_expired({"DNS:localhost"}));
  EXPECT_EQ(fetch(expired->port(), {.authorities_file = folder_.path("ca.pem")}).error().code,
            "egress.transport");
}

TEST_F(TlsEgress, RefusesPlainServersBehindHttps) {
  httpd::TestingServer plain{mirrors()};
  EXPECT_EQ(fetch(plain.port(), {.authorities_file = folder_.path("ca.pem")}).error().code,
            "egress.transport");
}

}  // namespace
}  // namespace alga::egress
