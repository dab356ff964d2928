#include "runner/http_ui_proxy.h"

#include <gtest/gtest.h>

#include <future>
#include <latch>
#include <memory>
#include <string>
#include <utility>

#include "egress/testing_upstream.h"

namespace alga::runner {
namespace {

TEST(UiProxyRoute, EncodesEachSegmentOnceAndKeepsTheQuery) {
  EXPECT_EQ(encode_route("/api/x y/%41?a=1&a=2"), "/api/x%20y/A?a=1&a=2");
  EXPECT_EQ(encode_route("tickets/50%"), "/tickets/50%25");
}

TEST(UiProxyRoute, RefusesWhatLeadsElsewhere) {
  for (const char* route : {"", "  ", "/a/../b", "/a/.", "/%2e%2E/b", "/a%2Fb", "/a\\b", "/a%0d%0a",
                            "/a\nb", "/a?b c"}) {
    EXPECT_FALSE(encode_route(route)) << route;
  }
}

TEST(UiProxyAnswer, MapsStatusesAsTheReference) {
  const auto code = [](std::uint16_t status) {
    const auto answer =
        ui_proxy_answer(domain::HttpResponse{.status = status, .headers = {}, .body = "b"});
    return answer ? *answer : std::string(answer.error().code);
  };
  EXPECT_EQ(code(204), "b");
  for (const std::uint16_t status : {401, 403, 429}) EXPECT_EQ(code(status), "ui_proxy.denied");
  EXPECT_EQ(code(404), "ui_proxy.route_not_found");
  EXPECT_EQ(code(422), "ui_proxy.bad_request");
  for (const std::uint16_t status : {302, 500}) EXPECT_EQ(code(status), "ui_proxy.unavailable");
}

TEST(UiProxyAnswer, TellsOneThatIsTooLargeFromOneThatDidNotCome) {
  EXPECT_EQ(ui_proxy_answer(fail(Kind::too_large, "egress.too_large", "")).error().code,
            "ui_proxy.too_large");
  for (const char* code : {"egress.timeout", "egress.transport", "egress.cancelled"}) {
    EXPECT_EQ(ui_proxy_answer(fail(Kind::timeout, code, "")).error().code, "ui_proxy.unavailable");
  }
}

TEST(UiProxy, EndsTheRequestOfACallThatIsCancelled) {
  const SystemClock clock;
  NoMetrics metrics;
  std::latch asked(1);
  egress::TestingUpstream silent([&](egress::TestingUpstream::Connection& connection) {
    if (connection.read_head()) asked.count_down();
    connection.wait_closed();
  });
  egress::HttpClient client(std::make_shared<egress::CurlLoop>(egress::CurlLoopOptions{}, metrics));
  HttpUiProxy proxy({.base_url = "http://127.0.0.1:" + std::to_string(silent.port()),
                     .timeout = std::chrono::minutes{10}},
                    client, clock);
  std::promise<std::string> ended;
  const std::uint64_t id =
      proxy.call({.who = {.tenant = "t1", .extension = "e1", .request_id = "r1"},
                  .route = "/x",
                  .payload = std::nullopt,
                  .user = std::nullopt,
                  .secrets = nullptr,
                  .deadline = clock.steady() + std::chrono::minutes{10},
                  .max_response_bytes = 10},
                 [&ended](const Result<std::string>& answer) {
                   ended.set_value(answer ? *answer : std::string(answer.error().code));
                 });
  asked.wait();
  proxy.cancel(id);
  EXPECT_EQ(ended.get_future().get(), "ui_proxy.unavailable");
}

TEST(UiProxy, SendsIdentityAndKeyToTheHostOnly) {
  ManualClock clock;
  egress::HttpClient client(nullptr);
  const HttpUiProxy proxy({.base_url = "https://host.example/"}, client, clock);
  auto secrets = *domain::SecretMap::from_pairs({{"api_key", "k"}});
  const engine::UiProxy::Call call{
      .who = {.tenant = "t1", .extension = "e1", .request_id = "r1"},
      .route = "//evil.example/x",
      .payload = "{}",
      .user = domain::UserIdentity{.user_id = "u1", .user_email = "a\r\nx-api-key: b"},
      .secrets = std::make_shared<const domain::SecretMap>(std::move(secrets)),
      .deadline = clock.steady() + std::chrono::seconds{1},
      .max_response_bytes = 10,
      .depth = 3};
  const auto request = proxy.prepare(call);
  ASSERT_TRUE(request);
  EXPECT_EQ(request->method, "POST");
  EXPECT_EQ(request->url, "https://host.example/e1//evil.example/x");
  EXPECT_EQ(domain::find_header(request->headers, "x-api-key"), "k");
  EXPECT_EQ(domain::find_header(request->headers, "x-user-id"), "u1");
  EXPECT_EQ(domain::find_header(request->headers, "x-alga-depth"), "3");
  EXPECT_FALSE(domain::find_header(request->headers, "x-user-email"));
  EXPECT_EQ(request->timeout, std::chrono::seconds{1});
  EXPECT_EQ(request->max_response_bytes, 10U);
}

}  // namespace
}  // namespace alga::runner
