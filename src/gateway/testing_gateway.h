#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "async/spawn.h"
#include "base/testing_metrics.h"
#include "gateway/gateway.h"
#include "gateway/memory_idempotency.h"
#include "gateway/testing.h"
#include "httpd/testing_contract.h"
#include "json/parse.h"

namespace alga::gateway::testing {

/// A gateway among its ports in memory, and one install with declared endpoints.
class GatewayTest : public ::testing::Test {
 public:
  GatewayTest() {
    install_ = std::make_shared<domain::InstallConfig>(domain::InstallConfig{
        .tenant = *TenantId::parse("t1"),
        .slug = "acme.tickets",
        .install = *InstallId::parse("inst-1"),
        .version = *VersionId::parse("ver-1"),
        .registry = *ExtensionId::parse("ext-1"),
        .content_hash = *ContentHash::parse(std::string(64, 'a')),
        .config = {{"colour", "blue"}},
        .providers = {"cap:log.emit"},
        .config_version = "c7",
        .secrets_version = "s3",
        .envelope = domain::SecretEnvelope{.ciphertext_b64 = "opaque"},
        .grant = "the-grant",
        .endpoints = {{"GET", "/items/:id"}, {"POST", "/items"}, {"PUT", "/items"}},
        .endpoints_declared = true});
    installs_.installs = {install_};
    add_principal("user", domain::Role::tenant_user, "t1");
    add_principal("foreign", domain::Role::tenant_user, "t2");
    add_principal("operator", domain::Role::operator_, std::nullopt);
    add_principal("publisher", domain::Role::publisher, std::nullopt);
    make({});
  }

  void make(Options options) {
    gateway_ = std::make_unique<Gateway>(Dependencies{.principals = &principals_,
                                                      .installs = &installs_,
                                                      .runner = &runner_,
                                                      .executions = &log_,
                                                      .idempotency = &idempotency_,
                                                      .clock = &clock_,
                                                      .random = &random_,
                                                      .metrics = &metrics_,
                                                      .options = std::move(options)});
    router_ = httpd::Router();
    gateway_->add_routes(router_);
  }

  void add_principal(const std::string& token, domain::Role role,
                     std::optional<std::string> tenant) {
    domain::Principal principal{.id = "key-" + token, .role = role};
    if (tenant) principal.tenant = TenantId::parse(*tenant);
    principals_.principals[token] = principal;
  }

  struct Ask {
    std::string method = "GET";
    std::string path = "/api/ext/ext-1/items/7";
    std::string token = "user";
    domain::Headers headers{};
    std::string body{};
    std::string query{};
  };
  async::Task<httpd::Response> send(Ask ask) {
    httpd::Request request;
    request.method = ask.method;
    request.path = ask.path;
    request.query = ask.query;
    request.headers = ask.headers;
    if (!ask.token.empty()) request.headers.push_back({"Authorization", "Bearer " + ask.token});
    request.body = ask.body;
    request.body_size = ask.body.size();
    request.request_id = "req-1";
    auto match = router_.match(request.method, request.path);
    request.params = match.params;
    co_return co_await (*match.handler)(std::move(request));
  }
  httpd::Response ask(Ask ask) { return async::block_on(send(std::move(ask))); }

  /// Status and code of a refusal, and that nothing was run.
  std::string refused(Ask what) {
    const std::size_t before = runner_.requests.size();
    const httpd::Response response = ask(std::move(what));
    EXPECT_EQ(runner_.requests.size(), before) << "must not run";
    return summary(response);
  }
  /// Of a refusal of ours, which is as the OpenAPI document says.
  static std::string summary(const httpd::Response& response) {
    const auto body = json::parse(response.body);
    if (!body || !body->is_object()) return std::to_string(response.status);
    const auto& object = body->get_object();
    EXPECT_EQ(object.at("request_id"), "req-1");
    EXPECT_EQ(object.at("requestId"), "req-1");
    EXPECT_EQ(contract().fault_of("GET", "/api/ext/{extension}/{path...}", response), "");
    return std::to_string(response.status) + ' ' + std::string(object.at("code").as_string());
  }
  static const httpd::testing::Contract& contract() {
    static const auto read = httpd::testing::Contract::of_file(ALGA_SCHEMA_DIR "/openapi.json");
    return read;
  }
  static std::string header(const httpd::Response& response, std::string_view name) {
    return std::string(domain::find_header(response.headers, name).value_or("(none)"));
  }
  static std::string seen(const domain::ExecuteRequest& request, std::string_view name) {
    return std::string(domain::find_header(request.http.headers, name).value_or("(none)"));
  }

  std::shared_ptr<domain::InstallConfig> install_;
  FakeAuthenticator principals_;
  FakeInstalls installs_;
  FakeRunner runner_;
  FakeExecutionLog log_;
  SystemClock clock_;
  SystemRandom random_;
  alga::testing::CountingMetrics metrics_;
  MemoryIdempotency idempotency_{{}, clock_};
  httpd::Router router_;
  std::unique_ptr<Gateway> gateway_;
};

}  // namespace alga::gateway::testing
