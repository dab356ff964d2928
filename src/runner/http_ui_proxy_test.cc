#include "runner/http_ui_proxy.h"

#include <gtest/gtest.h>

#include <memory>
#include <utility>

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
