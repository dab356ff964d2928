#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>

#include "async/deadline.h"
#include "async/spawn.h"
#include "gateway/testing_gateway.h"
#include "httpd/testing_server.h"
#include "json/parse.h"

namespace alga::gateway {
namespace {

using domain::Role;
using testing::GatewayTest;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

TEST_F(GatewayTest, RunsTheGuestAndDeliversItsAnswer) {
  runner_.answer.headers = {
      {"Content-Type", "text/csv"}, {"ETag", "\"e\""}, {"X-Ext-Warning", "w"}};
  const auto response = ask({.query = "a=1&a=2"});
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, "hello");
  EXPECT_EQ(header(response, "content-type"), "text/csv");
  EXPECT_EQ(header(response, "etag"), "\"e\"");
  EXPECT_EQ(header(response, "x-ext-warning"), "w");
  EXPECT_EQ(header(response, "cache-control"), "no-store");
  EXPECT_EQ(header(response, "x-request-id"), "req-1");
  EXPECT_EQ(header(response, "x-ext-config-version"), "c7");
  EXPECT_EQ(header(response, "x-ext-secrets-version"), "s3");

  const domain::ExecuteRequest& request = runner_.requests.at(0);
  EXPECT_EQ(request.http.method, "GET");
  EXPECT_EQ(request.http.url, "/items/7?a=1&a=2");
  EXPECT_EQ(request.tenant.str(), "t1");
  EXPECT_EQ(request.install->str(), "inst-1");
  EXPECT_EQ(request.grant, "the-grant");
  EXPECT_EQ(request.envelope->ciphertext_b64, "opaque");
  EXPECT_EQ(request.config.at("colour"), "blue");
  EXPECT_EQ(request.config_version, "c7");
  EXPECT_FALSE(request.http.body);
  EXPECT_EQ(request.limits.timeout_ms, 30'000U);
}

TEST_F(GatewayTest, FindsAnInstallByAnyOfItsNames) {
  for (const char* name : {"ext-1", "inst-1", "acme.tickets"}) {
    EXPECT_EQ(ask({.path = std::string("/api/ext/") + name + "/items/7"}).status, 200) << name;
  }
}

TEST_F(GatewayTest, LetsOnlyListedHeadersThrough) {
  ask({.headers = {{"Cookie", "session=1"},
                   {"X-Forwarded-For", "1.2.3.4"},
                   {"Content-Type", "application/json"},
                   {"User-Agent", "test"},
                   {"X-Request-Id", "forged"},
                   {"X-Alga-Extension", "forged"},
                   {"X-Alga-Grant", "forged"},
                   {"X-Custom", "no"}}});
  const domain::ExecuteRequest& request = runner_.requests.at(0);
  EXPECT_EQ(seen(request, "content-type"), "application/json");
  EXPECT_EQ(seen(request, "user-agent"), "test");
  EXPECT_EQ(seen(request, "x-request-id"), "req-1");
  EXPECT_EQ(seen(request, "x-alga-tenant"), "t1");
  EXPECT_EQ(seen(request, "x-alga-extension"), "ext-1");
  for (const char* name :
       {"authorization", "cookie", "x-forwarded-for", "x-alga-grant", "x-custom", "x-api-key"}) {
    EXPECT_EQ(seen(request, name), "(none)") << name;
  }
}

TEST_F(GatewayTest, LetsTheOperatorAddHeadersButNeverCredentials) {
  make({.extra_request_headers = {"X-Hub-Signature", "Cookie", "Authorization"}});
  ask({.headers = {{"x-hub-signature", "sha256=1"}, {"cookie", "c"}}});
  EXPECT_EQ(seen(runner_.requests.at(0), "x-hub-signature"), "sha256=1");
  EXPECT_EQ(seen(runner_.requests.at(0), "cookie"), "(none)");
  EXPECT_EQ(seen(runner_.requests.at(0), "authorization"), "(none)");
}

TEST_F(GatewayTest, DropsWhatAGuestMustNotTellABrowser) {
  runner_.answer.headers = {{"content-type", "text/html"},
                            {"set-cookie", "a=b"},
                            {"location", "https://evil.test"},
                            {"access-control-allow-origin", "*"},
                            {"content-security-policy", "script-src *"},
                            {"service-worker-allowed", "/"},
                            {"transfer-encoding", "chunked"},
                            {"cache-control", "public, max-age=60, s-maxage=9"},
                            {"x-ext-bad", "a\r\nset-cookie: x"}};
  const auto response = ask({});
  EXPECT_EQ(header(response, "content-type"), "text/html");
  EXPECT_EQ(header(response, "content-security-policy"), "default-src 'none'; sandbox");
  EXPECT_EQ(header(response, "x-content-type-options"), "nosniff");
  EXPECT_EQ(header(response, "cache-control"), "private, max-age=60");
  for (const char* name : {"set-cookie", "location", "access-control-allow-origin",
                           "service-worker-allowed", "transfer-encoding", "x-ext-bad"}) {
    EXPECT_EQ(header(response, name), "(none)") << name;
  }
}

TEST_F(GatewayTest, NeedsOneValidToken) {
  EXPECT_EQ(refused({.token = ""}), "401 gateway.unauthenticated");
  EXPECT_EQ(refused({.token = "unknown"}), "401 gateway.unauthenticated");
  EXPECT_EQ(refused({.headers = {{"x-api-key", "other"}}}), "401 gateway.unauthenticated");
  EXPECT_EQ(refused({.headers = {{"authorization", "Bearer foreign"}}}),
            "400 gateway.ambiguous_header");
  EXPECT_EQ(refused({.token = "", .headers = {{"authorization", "Basic user"}}}),
            "401 gateway.unauthenticated");
  EXPECT_EQ(ask({.token = "", .headers = {{"x-api-key", "user"}}}).status, 200);
  EXPECT_EQ(ask({.headers = {{"x-api-key", "user"}}}).status, 200) << "twice the same is one";
}

TEST_F(GatewayTest, KeepsTenantsApart) {
  EXPECT_EQ(refused({.token = "foreign"}), "404 gateway.extension_not_available");
  EXPECT_EQ(refused({.headers = {{"x-tenant-id", "t2"}}}), "403 gateway.tenant_mismatch");
  EXPECT_EQ(refused({.headers = {{"x-alga-tenant", "T1"}}}), "403 gateway.tenant_mismatch");
  EXPECT_EQ(refused({.headers = {{"x-alga-tenant", "t1"}, {"x-tenant-id", "t2"}}}),
            "403 gateway.tenant_mismatch");
  EXPECT_EQ(refused({.headers = {{"x-tenant-id", "t1"}, {"X-Tenant-Id", "t1"}}}),
            "400 gateway.ambiguous_header");
  EXPECT_EQ(refused({.token = "foreign", .headers = {{"x-tenant-id", "t1"}}}),
            "403 gateway.tenant_mismatch");
  EXPECT_EQ(ask({.headers = {{"x-tenant-id", "t1"}}}).status, 200);
}

TEST_F(GatewayTest, WantsAnOperatorToNameTheTenant) {
  EXPECT_EQ(refused({.token = "operator"}), "400 gateway.tenant_required");
  EXPECT_EQ(ask({.token = "operator", .headers = {{"x-tenant-id", "t1"}}}).status, 200);
  EXPECT_EQ(refused({.token = "publisher", .headers = {{"x-tenant-id", "t1"}}}),
            "403 gateway.forbidden");
}

TEST_F(GatewayTest, ServesDeclaredEndpointsOnly) {
  EXPECT_EQ(refused({.path = "/api/ext/ext-1/other"}), "404 gateway.endpoint_not_found");
  EXPECT_EQ(refused({.method = "DELETE"}), "404 gateway.endpoint_not_found");
  EXPECT_EQ(refused({.method = "TRACE"}), "404 gateway.endpoint_not_found");
  EXPECT_EQ(refused({.path = "/api/ext/ext-1"}), "404 gateway.endpoint_not_found");
  EXPECT_EQ(refused({.path = "/api/ext/unknown/items/7"}), "404 gateway.extension_not_available");
}

TEST_F(GatewayTest, TakesAVersionWithoutDeclarationsOnlyWhenTheOperatorSaysSo) {
  install_->endpoints.clear();
  install_->endpoints_declared = false;
  EXPECT_EQ(refused({}), "404 gateway.endpoint_not_found");
  make({.allow_undeclared_endpoints = true});
  EXPECT_EQ(ask({.path = "/api/ext/ext-1/anything/at%20all"}).status, 200);
  EXPECT_EQ(runner_.requests.back().http.url, "/anything/at%20all");
  install_->endpoints_declared = true;
  EXPECT_EQ(refused({}), "404 gateway.endpoint_not_found") << "an empty declaration is one";
}

TEST_F(GatewayTest, OffersClientUsersOnlyWhatThePortalOffers) {
  add_principal("client", Role::client_user, "t1");
  EXPECT_EQ(refused({.token = "client"}), "403 gateway.forbidden");
  install_->client_portal = true;
  EXPECT_EQ(refused({.token = "client"}), "403 gateway.forbidden") << "no client id";
  principals_.principals["client"].user =
      domain::UserIdentity{.user_id = "u1", .user_type = "client", .client_id = "c1"};
  EXPECT_EQ(ask({.token = "client"}).status, 200);
  EXPECT_EQ(runner_.requests.back().user->client_id, "c1");
}

TEST_F(GatewayTest, LimitsTheRateOfATenantAndExtension) {
  make({.rate = {.burst = 3, .interval = std::chrono::seconds(1)}});
  for (int i = 0; i < 3; ++i) EXPECT_EQ(ask({}).status, 200);
  const auto response = ask({});
  EXPECT_EQ(summary(response), "429 gateway.rate_limited");
  EXPECT_EQ(header(response, "retry-after"), "1");
  EXPECT_EQ(refused({.path = "/api/ext/acme.tickets/items/7"}), "429 gateway.rate_limited");
  install_->registry = *ExtensionId::parse("ext-2");
  for (int i = 0; i < 3; ++i) EXPECT_EQ(ask({.path = "/api/ext/ext-2/items/7"}).status, 200);
  install_->tenant = *TenantId::parse("t2");
  EXPECT_EQ(ask({.path = "/api/ext/ext-2/items/7", .token = "foreign"}).status, 200);
}

/// The order of the access policy: who may not is told so whatever the rate, and costs it nothing.
TEST_F(GatewayTest, AsksWhoMayBeforeItCountsTowardsTheRate) {
  make({.rate = {.burst = 1, .interval = std::chrono::hours(1)}});
  add_principal("barred", domain::Role::tenant_user, "t1");
  principals_.principals["barred"].extensions = {.read = false, .write = false};
  EXPECT_EQ(refused({.token = "barred"}), "403 gateway.forbidden");
  EXPECT_EQ(refused({.path = "/api/ext/ext-1/other"}), "404 gateway.endpoint_not_found");
  EXPECT_EQ(ask({}).status, 200) << "the only place was still there";
  EXPECT_EQ(refused({}), "429 gateway.rate_limited");
  EXPECT_EQ(refused({.token = "barred"}), "403 gateway.forbidden") << "both would refuse";
  EXPECT_EQ(refused({.path = "/api/ext/ext-1/other"}), "404 gateway.endpoint_not_found");
}

TEST_F(GatewayTest, EndsExtensionsThatCallOneAnother) {
  make({.max_depth = 2});
  EXPECT_EQ(ask({.headers = {{"x-alga-depth", "2"}}}).status, 200);
  EXPECT_EQ(runner_.requests.back().depth, 2U);
  for (const char* depth : {"3", "", "-1", "1.0", "2 ", "4294967297"}) {
    EXPECT_EQ(refused({.headers = {{"x-alga-depth", depth}}}), "403 gateway.too_deep") << depth;
  }
  EXPECT_EQ(refused({.headers = {{"x-alga-depth", "1"}, {"X-Alga-Depth", "1"}}}),
            "400 gateway.ambiguous_header");
  EXPECT_EQ(ask({}).status, 200);
  EXPECT_EQ(runner_.requests.back().depth, 0U);
}

TEST_F(GatewayTest, NamesTheExecutionThatItWroteDown) {
  EXPECT_EQ(ask({}).status, 200);
  ASSERT_TRUE(runner_.requests.back().execution_id);
  EXPECT_EQ(*runner_.requests.back().execution_id, log_.started.back().id);
}

TEST_F(GatewayTest, ServesNothingWhenADependencyIsDown) {
  const Error down{Kind::unavailable, "sql.unavailable", "host db-7 is down"};
  principals_.error = down;
  const auto response = ask({});
  EXPECT_EQ(summary(response), "503 gateway.policy_unavailable");
  EXPECT_THAT(response.body, HasSubstr("access_policy_unavailable"));
  EXPECT_THAT(response.body, Not(HasSubstr("db-7")));
  principals_.error.reset();
  installs_.error = down;
  EXPECT_EQ(refused({}), "503 gateway.policy_unavailable");
  installs_.error.reset();
  log_.error = down;
  EXPECT_EQ(refused({}), "503 gateway.policy_unavailable");
}

TEST_F(GatewayTest, WritesStartedAndFinished) {
  ask({.headers = {{"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}},
       .query = "token=secret"});
  const auto& started = log_.started.at(0);
  const auto& finished = log_.finished.at(0);
  EXPECT_EQ(started.who.trace_id, "0af7651916cd43dd8448eb211c80319c");
  EXPECT_EQ(started.endpoint, "/items/:id");
  EXPECT_EQ(started.path, "/items/7") << "without the query";
  EXPECT_EQ(started.secrets_version, "s3");
  EXPECT_EQ(started.principal_kind, "tenant_user");
  EXPECT_EQ(started.id, finished.id);
  EXPECT_EQ(finished.status, "ok");
  EXPECT_EQ(finished.http_status, 200);
  const std::string passed_on = *runner_.requests.at(0).traceparent;
  EXPECT_TRUE(passed_on.starts_with("00-0af7651916cd43dd8448eb211c80319c-"));
  EXPECT_THAT(passed_on, Not(HasSubstr("b7ad6b7169203331"))) << "our own step in their trace";
}

TEST_F(GatewayTest, MakesATraceOfItsOwnForABadOne) {
  for (const char* bad : {"x", "00-00000000000000000000000000000000-b7ad6b7169203331-01",
                          "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                          "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01"}) {
    ask({.headers = {{"traceparent", bad}}});
    EXPECT_NE(runner_.requests.back().traceparent, bad);
    EXPECT_EQ(runner_.requests.back().traceparent->size(), 55U);
  }
}

TEST_F(GatewayTest, TellsTheCallerNothingOfWhatWentWrongInside) {
  runner_.answer = {.status = 500,
                    .error = "execute_failed: canary stack at main.js:7",
                    .code = "engine.trap",
                    .end_class = "trap"};
  const auto response = ask({});
  EXPECT_EQ(summary(response), "502 engine.trap");
  EXPECT_THAT(response.body, Not(HasSubstr("canary")));
  EXPECT_THAT(response.body, HasSubstr("\"bad_gateway\""));
  EXPECT_EQ(log_.finished.at(0).status, "error");
  EXPECT_EQ(log_.finished.at(0).error, "engine.trap");
}

TEST_F(GatewayTest, AnswersTimeoutsWith504) {
  runner_.answer = {.status = 500,
                    .error = "execute_failed: x",
                    .code = "engine.wall_limit",
                    .end_class = "wall_limit"};
  EXPECT_EQ(summary(ask({})), "504 engine.wall_limit");
  EXPECT_EQ(log_.finished.at(0).status, "timeout");
}

TEST_F(GatewayTest, GivesUpOnARunnerThatDoesNotAnswer) {
  make({.timeout = std::chrono::milliseconds(10), .grace = std::chrono::milliseconds(20)});
  runner_.before = [this] { return async::sleep_for(&clock_, std::chrono::seconds(30)); };
  EXPECT_EQ(summary(ask({})), "504 gateway.timeout");
  EXPECT_EQ(runner_.requests.at(0).limits.timeout_ms, 10U);
  EXPECT_EQ(log_.finished.at(0).status, "timeout");
}

TEST_F(GatewayTest, GivesAnInstallTheTimeThatItWasGrantedMoreOrLessThanUsual) {
  for (const std::uint64_t granted : {120'000U, 5U}) {
    install_->limits.timeout_ms = granted;
    EXPECT_EQ(summary(ask({})).substr(0, 3), "200");
    EXPECT_EQ(runner_.requests.back().limits.timeout_ms, granted);
  }
  // And waits for its answer as long.
  make({.timeout = std::chrono::milliseconds(10), .grace = std::chrono::milliseconds(20)});
  install_->limits.timeout_ms = 10'000;
  runner_.before = [this] { return async::sleep_for(&clock_, std::chrono::milliseconds(300)); };
  EXPECT_EQ(summary(ask({})).substr(0, 3), "200");
}

TEST_F(GatewayTest, WritesAnExecutionOffThoughTheServerStops) {
  boost::asio::io_context context(1);
  boost::asio::cancellation_signal stop;
  runner_.before = [this] { return async::sleep_for(&clock_, std::chrono::seconds(30)); };
  std::string answer;
  boost::asio::co_spawn(context, send({}),
                        boost::asio::bind_cancellation_slot(
                            stop.slot(), [&answer](std::exception_ptr, httpd::Response response) {
                              answer = summary(response);
                            }));
  boost::asio::post(context, [&stop] { stop.emit(boost::asio::cancellation_type::terminal); });
  context.run();
  EXPECT_EQ(answer, "503 gateway.stopping");
  EXPECT_EQ(log_.finished.at(0).error, "cancelled");
}

TEST_F(GatewayTest, PassesOverloadOnWithItsAdvice) {
  runner_.answer = {.status = 503,
                    .error = "execute_failed: x",
                    .code = "engine.cold",
                    .retry_after_s = 2,
                    .end_class = "platform"};
  const auto response = ask({});
  EXPECT_EQ(summary(response), "503 engine.cold");
  EXPECT_EQ(header(response, "retry-after"), "2");
}

TEST_F(GatewayTest, TellsWhoIsToWaitFromWhoAskedForWhatNobodyRuns) {
  const auto refused = [this](std::uint16_t status, const char* code) {
    runner_.answer = {.status = status, .error = "x", .code = code, .end_class = "refused"};
    return summary(ask({}));
  };
  EXPECT_EQ(refused(503, "idempotency.unavailable"), "503 idempotency.unavailable");
  EXPECT_EQ(refused(413, "limit.request_body"), "413 limit.request_body");
  EXPECT_EQ(refused(400, "capability.unknown"), "502 capability.unknown");
  EXPECT_EQ(log_.finished.back().status, "error");
  EXPECT_EQ(log_.finished.back().error, "capability.unknown");
}

TEST_F(GatewayTest, DeliversErrorsOfTheGuestAsTheyAre) {
  runner_.answer.status = 422;
  runner_.answer.body = "not like this";
  const auto response = ask({});
  EXPECT_EQ(response.status, 422);
  EXPECT_EQ(response.body, "not like this");
  EXPECT_EQ(log_.finished.at(0).status, "upstream_error");
  EXPECT_EQ(metrics_.count("alga_gateway_requests_total{upstream_refusal}"), 1);
  EXPECT_EQ(metrics_.count("alga_gateway_requests_total{upstream_error}"), 0);
  runner_.answer.status = 500;
  EXPECT_EQ(ask({}).status, 500);
  EXPECT_EQ(log_.finished.at(1).status, "upstream_error");
  EXPECT_EQ(metrics_.count("alga_gateway_requests_total{upstream_error}"), 1);
}

TEST_F(GatewayTest, RefusesImpossibleStatusesAndBodiesThatMayNotBe) {
  for (const std::uint16_t status : {0, 99, 101, 600, 1000}) {
    runner_.answer.status = status;
    EXPECT_EQ(summary(ask({})), "502 gateway.bad_guest_status") << status;
  }
  for (const std::uint16_t status : {204, 304}) {
    runner_.answer.status = status;
    EXPECT_EQ(ask({}).body, "") << status;
  }
}

TEST_F(GatewayTest, AsksAGuestWithGetForHead) {
  const auto response = ask({.method = "HEAD"});
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, "");
  EXPECT_EQ(runner_.requests.at(0).http.method, "GET");
}

TEST_F(GatewayTest, AnswersPreflightsExactly) {
  make({.allowed_origins = {"https://app.test"}});
  const auto good =
      ask({.method = "OPTIONS", .token = "", .headers = {{"origin", "https://app.test"}}});
  EXPECT_EQ(good.status, 204);
  EXPECT_EQ(header(good, "access-control-allow-origin"), "https://app.test");
  for (const char* origin :
       {"https://evil.test", "https://app.test.evil", "http://app.test", "null"}) {
    const auto bad = ask({.method = "OPTIONS", .token = "", .headers = {{"origin", origin}}});
    EXPECT_EQ(summary(bad), "403 gateway.origin_not_allowed");
    EXPECT_EQ(header(bad, "access-control-allow-origin"), "(none)");
    const auto plain = ask({.headers = {{"origin", origin}}});
    EXPECT_EQ(header(plain, "access-control-allow-origin"), "(none)") << origin;
  }
  const auto called = ask({.headers = {{"origin", "https://app.test"}}});
  EXPECT_EQ(header(called, "access-control-allow-origin"), "https://app.test");
  EXPECT_THAT(header(called, "vary"), HasSubstr("origin"));
  EXPECT_EQ(ask({.method = "OPTIONS", .token = ""}).status, 204);
}

TEST_F(GatewayTest, RunsARequestWithAnIdempotencyKeyOnce) {
  const Ask post{.method = "POST",
                 .path = "/api/ext/ext-1/items",
                 .headers = {{"x-idempotency-key", "k1"}},
                 .body = "{}"};
  const auto first = ask(post);
  runner_.answer.body = "second";
  const auto second = ask(post);
  EXPECT_EQ(runner_.requests.size(), 1U);
  EXPECT_EQ(second.body, first.body);
  EXPECT_EQ(header(second, "x-idempotent-replay"), "true");
  EXPECT_EQ(seen(runner_.requests.at(0), "x-idempotency-key"), "k1");
  Ask other = post;
  other.body = "{\"a\":1}";
  EXPECT_EQ(refused(other), "422 gateway.idempotency_mismatch");
  Ask put = post;
  put.method = "PUT";
  EXPECT_EQ(ask(put).body, "second") << "another endpoint, another key";
}

TEST_F(GatewayTest, ScopesIdempotencyKeysToTheTenant) {
  auto theirs = std::make_shared<domain::InstallConfig>(*install_);
  theirs->tenant = *TenantId::parse("t2");
  theirs->install = *InstallId::parse("inst-2");
  installs_.installs.push_back(theirs);
  Ask post{.method = "POST",
           .path = "/api/ext/ext-1/items",
           .headers = {{"x-idempotency-key", "k1"}},
           .body = "{}"};
  ask(post);
  runner_.answer.body = "for t2";
  post.token = "foreign";
  EXPECT_EQ(ask(post).body, "for t2");
  add_principal("colleague", Role::tenant_user, "t1");
  post.token = "colleague";
  runner_.answer.body = "for another user";
  EXPECT_EQ(ask(post).body, "for another user") << "what one was answered is no other's";
}

TEST_F(GatewayTest, RunsAgainAfterAFailureThatWasNotTheGuests) {
  const Ask post{
      .method = "POST", .path = "/api/ext/ext-1/items", .headers = {{"x-idempotency-key", "k1"}}};
  runner_.answer = {.status = 500, .error = "x", .code = "engine.trap", .end_class = "trap"};
  EXPECT_EQ(ask(post).status, 502);
  runner_.answer = {.status = 200, .headers = {}, .body = "fine", .end_class = "ok"};
  EXPECT_EQ(ask(post).body, "fine");
}

TEST_F(GatewayTest, RefusesAConcurrentDuplicate) {
  const Ask post{
      .method = "POST", .path = "/api/ext/ext-1/items", .headers = {{"x-idempotency-key", "k1"}}};
  std::string duplicate;
  runner_.before = [&]() -> async::Task<void> {
    return [](GatewayTest* test, Ask what, std::string* answer) -> async::Task<void> {
      const httpd::Response response = co_await test->send(what);
      *answer = summary(response);
    }(this, post, &duplicate);
  };
  EXPECT_EQ(ask(post).status, 200);
  EXPECT_EQ(duplicate, "409 gateway.idempotency_in_progress");
  EXPECT_EQ(runner_.requests.size(), 1U);
}

TEST_F(GatewayTest, RefusesKeysThatAreNone) {
  for (const std::string& key : {std::string(256, 'k'), std::string("a b"), std::string("\xff")}) {
    EXPECT_EQ(refused({.method = "POST",
                       .path = "/api/ext/ext-1/items",
                       .headers = {{"x-idempotency-key", key}}}),
              "400 gateway.bad_idempotency_key");
  }
}

TEST_F(GatewayTest, NeverTakesTheRequestIdForAKey) {
  const Ask post{.method = "POST", .path = "/api/ext/ext-1/items"};
  ask(post);
  ask(post);
  EXPECT_EQ(runner_.requests.size(), 2U);
  EXPECT_EQ(seen(runner_.requests.at(0), "x-idempotency-key"), "(none)");
}

TEST_F(GatewayTest, TunnelsMethodsForTheProxyOnly) {
  const auto response = ask({.method = "POST",
                             .path = "/api/ext-proxy/ext-1/items",
                             .headers = {{"content-type", "application/json"}},
                             .body = R"({"__method":"put","n":1.0})"});
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(runner_.requests.at(0).http.method, "PUT");
  EXPECT_EQ(runner_.requests.at(0).http.body, R"({"n":1.0})");
  EXPECT_NE(seen(runner_.requests.at(0), "x-idempotency-key"), "(none)") << "made for the guest";
  ask({.method = "POST",
       .path = "/api/ext-proxy/ext-1/items/7",
       .body = "x",
       .query = "a=1&__method=GET"});
  EXPECT_EQ(runner_.requests.at(1).http.url, "/items/7?a=1");
  EXPECT_FALSE(runner_.requests.at(1).http.body);
  EXPECT_EQ(
      refused({.method = "POST", .path = "/api/ext-proxy/ext-1/items", .query = "__method=X"}),
      "400 gateway.bad_method");
  ask({.method = "POST", .path = "/api/ext/ext-1/items", .query = "__method=PUT"});
  EXPECT_EQ(runner_.requests.back().http.method, "POST");
}

TEST_F(GatewayTest, RefusesALargeBodyBeforeItIsRead) {
  make({.allowed_origins = {"https://app.example"}, .max_body = 200'000});
  httpd::TestingServer server(std::move(router_));
  const std::string head =
      "POST /api/ext/ext-1/items HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n";
  EXPECT_THAT(httpd::exchange_raw(server.port(), head + "authorization: Bearer user\r\n"
                                                        "origin: https://app.example\r\n"
                                                        "content-length: 200001\r\n\r\n"),
              AllOf(HasSubstr("413"), HasSubstr(R"("error":"payload_too_large")"),
                    HasSubstr(R"("code":"limit.request_body")"),
                    HasSubstr("access-control-allow-origin: https://app.example")));
  EXPECT_EQ(metrics_.count("alga_gateway_requests_total{policy_denied}"), 1);
  EXPECT_EQ(metrics_.count("alga_limit_hits_total{request_body}"), 1);
  EXPECT_THAT(httpd::exchange_raw(server.port(), head + "content-length: 150000\r\n\r\n"),
              HasSubstr("401"))
      << "a stranger's body is not read at all";
  EXPECT_THAT(httpd::exchange_raw(server.port(), head + "authorization: Bearer user\r\n"
                                                        "content-length: 2\r\n\r\n{}"),
              HasSubstr("hello"));
  EXPECT_EQ(runner_.requests.size(), 1U);
}

TEST_F(GatewayTest, ReadsNoBodyOfAPreflight) {
  make({.max_body = 200'000});
  httpd::TestingServer server(std::move(router_));
  for (const char* framing :
       {"content-length: 1000", "content-length: 150000", "transfer-encoding: chunked"}) {
    httpd::RawClient client(server.port());
    client.send("OPTIONS /api/ext/ext-1/items HTTP/1.1\r\nhost: localhost\r\n" +
                std::string(framing) + "\r\n\r\n");
    EXPECT_THAT(client.read_response(true), StartsWith("HTTP/1.1 204")) << framing;
  }
}

}  // namespace
}  // namespace alga::gateway
