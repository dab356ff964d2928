#include "gateway/http_runner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/serialize.hpp>
#include <future>
#include <mutex>

#include "async/spawn.h"
#include "domain/envelope.h"
#include "httpd/testing_server.h"

namespace alga::gateway {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

domain::ExecuteRequest request() {
  return {.request_id = "req-1",
          .tenant = *TenantId::parse("t1"),
          .extension = *ExtensionId::parse("e1"),
          .install = InstallId::parse("i1"),
          .version = VersionId::parse("v1"),
          .content_hash = *ContentHash::parse(std::string(64, 'a')),
          .config = {{"k", "v"}},
          .http = {.method = "POST",
                   .url = "/a?x=1&x=2",
                   .headers = {{"accept", "a"}, {"accept", "b"}},
                   .body = std::string("\0\xff", 2)},
          .limits = {.timeout_ms = 500},
          .envelope = domain::SecretEnvelope{.ciphertext_b64 = "c", .version = "s1"},
          .providers = {"cap:log.emit"},
          .user = domain::UserIdentity{.user_id = "u1", .client_id = "c1"},
          .grant = "g.s",
          .traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
          .config_version = "c1",
          .secrets_version = "s1"};
}

TEST(ExecuteJson, HasTheMembersOfTheReferenceAndOurs) {
  EXPECT_EQ(
      boost::json::serialize(execute_request_to_json(request())),
      R"({"context":{"request_id":"req-1","tenant_id":"t1","extension_id":"e1","install_id":"i1",)"
      R"("version_id":"v1","content_hash":"sha256:)" +
          std::string(64, 'a') +
          R"(","config":{"k":"v"}},"http":{"method":"POST","path":"/a","url":"/a?x=1&x=2",)"
          R"("query":{"x":"2"},"headers":{"accept":"b"},)"
          R"("header_list":[["accept","a"],["accept","b"]],"body_b64":"AP8="},)"
          R"("limits":{"timeout_ms":500},"secret_envelope":{"ciphertext_b64":"c","version":"s1"},)"
          R"("providers":["cap:log.emit"],"user":{"user_id":"u1","user_email":"","user_name":"",)"
          R"("user_type":"","client_name":"","client_id":"c1","additional_fields":{}}})");
}

TEST(ExecuteJson, ReadsTheAnswerOfTheReferencesRunner) {
  const auto answer = execute_response_from_json(*json::parse(
      R"({"status":201,"headers":{"content-type":"text/plain"},"body_b64":"aGk=","error":null})"));
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 201);
  EXPECT_EQ(answer->body, "hi");
  EXPECT_EQ(answer->error, "");
  EXPECT_EQ(domain::find_header(answer->headers, "content-type"), "text/plain");
}

TEST(ExecuteJson, PrefersTheListOfHeaders) {
  const auto answer = execute_response_from_json(*json::parse(
      R"({"status":200,"headers":{"x-ext-a":"2"},"header_list":[["x-ext-a","1"],["x-ext-a","2"]],)"
      R"("body_b64":null,"error":null,"code":null,"end_class":"ok"})"));
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->headers.size(), 2U);
  EXPECT_EQ(answer->headers.at(0).value, "1");
  EXPECT_FALSE(answer->body);
}

TEST(ExecuteJson, RefusesNonsense) {
  for (const char* text :
       {"[]", "{}", R"({"status":"200"})", R"({"status":-1})", R"({"status":200,"headers":[]})",
        R"({"status":200,"body_b64":"?"})", R"({"status":200,"header_list":[["a"]]})",
        R"({"status":200,"error":{}})"}) {
    const auto answer = execute_response_from_json(*json::parse(text));
    ASSERT_FALSE(answer) << text;
    EXPECT_EQ(answer.error().code, "runner.malformed_answer");
  }
}

class HttpRunnerTest : public ::testing::Test {
 protected:
  domain::ExecuteResponse run(std::function<httpd::Response(const httpd::Request&)> answer,
                              HttpRunner::Options options = {}) {
    httpd::Router router;
    router.add("POST", "/v1/execute",
               [this, answer](httpd::Request incoming) -> async::Task<httpd::Response> {
                 return [](HttpRunnerTest* test, auto make,
                           httpd::Request seen) -> async::Task<httpd::Response> {
                   const std::scoped_lock lock(test->mutex_);
                   test->seen_ = seen;
                   co_return make(seen);
                 }(this, answer, std::move(incoming));
               });
    httpd::TestingServer server(std::move(router));
    options.url = server.origin() + "/";
    HttpRunner runner(options, client_);
    return async::block_on(runner.execute(request()));
  }
  NoMetrics metrics_;
  egress::HttpClient client_{
      std::make_shared<egress::CurlLoop>(egress::CurlLoopOptions{}, metrics_)};
  std::mutex mutex_;
  httpd::Request seen_;
};

TEST_F(HttpRunnerTest, SendsIdentityGrantAndEnvelope) {
  HttpRunner::Options options;
  options.service_token = [] { return Result<Secret>(Secret("service")); };
  const auto answer = run(
      [](const httpd::Request&) {
        return httpd::json_response(200, R"({"status":200,"headers":{},"body_b64":"aGk="})");
      },
      options);
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, "hi");
  EXPECT_EQ(seen_.header("x-alga-tenant"), "t1");
  EXPECT_EQ(seen_.header("x-alga-extension"), "e1");
  EXPECT_EQ(seen_.header("x-alga-grant"), "g.s");
  EXPECT_EQ(seen_.header("x-runner-service-token"), "service");
  EXPECT_EQ(seen_.header("x-ext-config-version"), "c1");
  EXPECT_EQ(seen_.header("x-ext-secrets-version"), "s1");
  EXPECT_EQ(seen_.header("x-request-id"), "req-1");
  EXPECT_TRUE(
      domain::check_envelope_header(*request().envelope, *seen_.header("x-ext-secrets-envelope")));
}

TEST_F(HttpRunnerTest, PassesOnThatItMustWait) {
  const auto answer = run([](const httpd::Request&) {
    return httpd::error_response({Kind::unavailable, "engine.overload", "busy", 3}, "r");
  });
  EXPECT_EQ(answer.status, 503);
  EXPECT_EQ(answer.code, "engine.overload");
  EXPECT_EQ(answer.retry_after_s, 3U);
}

TEST_F(HttpRunnerTest, TellsNobodyToWaitLongerThanAnHourOrNotAtAll) {
  const auto wait = [this](std::optional<std::string> advice) {
    return run([&](const httpd::Request&) {
             auto response =
                 httpd::error_response({Kind::rate_limited, "engine.overload", "", 0}, "r");
             if (advice) response.set("retry-after", *advice);
             return response;
           })
        .retry_after_s;
  };
  EXPECT_EQ(wait("30"), 30U);
  EXPECT_EQ(wait("3600"), 3600U);
  EXPECT_EQ(wait("3601"), 3600U);
  EXPECT_EQ(wait("99999999999999999999"), 3600U);
  EXPECT_EQ(wait("0"), 1U);
  EXPECT_EQ(wait(std::nullopt), 1U);
  EXPECT_EQ(wait("Wed, 21 Oct 2026 07:28:00 GMT"), 1U);
  EXPECT_EQ(wait("5 minutes"), 1U);
  EXPECT_EQ(run([](const httpd::Request&) {
              return httpd::json_response(
                  200, R"({"status":503,"headers":{},"error":"x","retry_after_s":86400})");
            }).retry_after_s,
            3600U)
      << "in the body, too";
}

TEST_F(HttpRunnerTest, PassesOnThatTheRequestIsTooLarge) {
  for (
      const char* body :
      {R"({"status":413,"headers":{},"body_b64":null,"error":"execute_failed: limit.request_body",)"
       R"("code":"limit.request_body","end_class":"refused"})",
       R"({"error":{"code":"limit.request_body","message":"","request_id":"r"}})"}) {
    const auto answer = run([&](const httpd::Request&) { return httpd::json_response(413, body); });
    EXPECT_EQ(answer.status, 413);
    EXPECT_EQ(answer.code, "limit.request_body");
    EXPECT_EQ(answer.end_class, "refused");
    EXPECT_EQ(answer.retry_after_s, 0U);
  }
}

TEST_F(HttpRunnerTest, AsksAnotherRunnerWhenOneIsAboutToEnd) {
  int asked = 0;
  const auto after = [&](int refusals) {
    asked = 0;
    return run([&](const httpd::Request&) {
      if (++asked <= refusals) {
        return httpd::error_response({Kind::unavailable, "runner.draining", "", 1}, "r");
      }
      return httpd::json_response(200, R"({"status":200,"headers":{},"body_b64":"aGk="})");
    });
  };
  EXPECT_EQ(after(1).body, "hi");
  EXPECT_EQ(asked, 2);
  EXPECT_EQ(after(2).body, "hi");
  // Not for ever.
  const auto refused = after(100);
  EXPECT_EQ(refused.code, "runner.draining");
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(asked, 3);
}

TEST_F(HttpRunnerTest, TurnsEveryTroubleIntoAnAnswer) {
  const auto code = [this](std::uint16_t status, std::string body) {
    const auto answer =
        run([&](const httpd::Request&) { return httpd::json_response(status, body); });
    EXPECT_FALSE(answer.error.empty());
    EXPECT_EQ(answer.status, 502);
    return answer.code;
  };
  EXPECT_EQ(code(200, "<html>"), "runner.malformed_answer");
  EXPECT_EQ(code(200, "{}"), "runner.malformed_answer");
  EXPECT_EQ(code(401, "x"), "runner.refused");
  EXPECT_EQ(code(404, R"({"error":{"code":"http.not_found"}})"), "http.not_found");
  HttpRunner nobody({.url = "http://127.0.0.1:1"}, client_);
  EXPECT_EQ(async::block_on(nobody.execute(request())).code, "runner.unreachable");
  HttpRunner no_token(
      {.url = "http://127.0.0.1:1",
       .service_token =
           [] { return Result<Secret>(fail(Kind::unavailable, "vault.sealed", "sealed")); }},
      client_);
  EXPECT_EQ(async::block_on(no_token.execute(request())).code, "runner.no_token");
}

async::Task<httpd::Response> answer_after(std::shared_future<void> that) {
  that.wait();
  co_return httpd::json_response(200, "{}");
}

TEST_F(HttpRunnerTest, GivesUpAfterLimitAndGrace) {
  std::promise<void> given_up;
  httpd::Router router;
  router.add("POST", "/v1/execute",
             [that = given_up.get_future().share()](httpd::Request) { return answer_after(that); });
  httpd::TestingServer server(std::move(router));
  HttpRunner runner({.url = server.origin(), .grace = std::chrono::milliseconds(-300)}, client_);
  const auto answer = async::block_on(runner.execute(request()));
  given_up.set_value();
  EXPECT_EQ(answer.code, "runner.timeout");
  EXPECT_EQ(answer.end_class, "wall_limit");
}

}  // namespace
}  // namespace alga::gateway
