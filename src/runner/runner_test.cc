#include "runner/runner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <filesystem>
#include <functional>
#include <optional>

#include "domain/warmup_token.h"
#include "json/parse.h"
#include "runner/testing.h"

namespace alga::runner {
namespace {

using domain::Capability;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::RunnerHttpTest;
using testing::RunnerTest;

TEST_F(RunnerTest, RunsWhatAGrantAllowsAndWritesItDown) {
  auto with = granted(grant({Capability::context_read, Capability::storage_kv}));
  with.providers = {"cap:storage.kv", "cap:http.fetch"};
  const auto response = execute(role(), std::move(with));
  EXPECT_EQ(response.status, 201);
  EXPECT_EQ(response.body, "hi");
  EXPECT_EQ(response.error, "");
  ASSERT_EQ(engine_.invocations.size(), 1U);
  EXPECT_THAT(engine_.invocations[0].capabilities.names(),
              ElementsAre("cap:context.read", "cap:storage.kv"));
  EXPECT_EQ(engine_.loaded.at(0).filename(), "main.wasm");
  ASSERT_EQ(records_.executions.size(), 1U);
  EXPECT_EQ(records_.executions[0].who.version, "v1");
  EXPECT_EQ(records_.executions[0].path, "/a");
  EXPECT_EQ(records_.executions[0].end_class, "ok");
}

TEST_F(RunnerTest, WritesNoPathDownThatIsLongerThanAnybodyReads) {
  auto with = request();
  with.http.url = "/" + std::string(1'000'000, 'x') + "?" + std::string(1'000'000, 'q');
  EXPECT_EQ(execute(role(drop_in()), with).status, 201);
  EXPECT_EQ(records_.executions.at(0).path, "/" + std::string(2047, 'x') + "…");
  EXPECT_EQ(engine_.invocations.at(0).request.http.url, with.http.url) << "the guest sees it";
}

TEST_F(RunnerTest, WritesTheExecutionDownUnderTheIdOfItsGateway) {
  auto with = granted(grant({}));
  with.execution_id = "gateways-id";
  with.depth = 3;
  EXPECT_EQ(execute(role(), std::move(with)).status, 201);
  EXPECT_EQ(records_.executions.at(0).id, "gateways-id");
  EXPECT_EQ(engine_.invocations.at(0).request.depth, 3U);
  EXPECT_EQ(execute(role(), granted(grant({}))).status, 201);
  EXPECT_NE(records_.executions.at(1).id, "gateways-id");
}

TEST_F(RunnerTest, RefusesWithoutGrantAndWithAForeignOne) {
  EXPECT_EQ(execute(role(), request()).code, "runner.grant_required");
  auto foreign = grant({});
  foreign.tenant = *TenantId::parse("t2");
  EXPECT_EQ(execute(role(), granted(foreign)).code, "grant.tenant_mismatch");
  auto forged = granted(grant({}));
  forged.grant->back() = forged.grant->back() == 'A' ? 'Q' : 'A';
  EXPECT_THAT(execute(role(), forged).code, HasSubstr("grant."));
  EXPECT_TRUE(engine_.invocations.empty());
  EXPECT_TRUE(records_.executions.empty());
}

TEST_F(RunnerTest, NamesTheFirstFaultInTheOrderOfTheReference) {
  auto bad = request();
  bad.providers = {"nonsense"};
  bad.content_hash = *ContentHash::parse(std::string(64, 'b'));
  EXPECT_EQ(execute(role(drop_in()), bad).error, "bundle_fetch_failed: blob.not_found");
  bad.content_hash = hash_;
  const auto unknown = execute(role(drop_in()), bad);
  EXPECT_EQ(unknown.error, "unknown_capabilities: nonsense");
  EXPECT_EQ(unknown.status, 400);
  auto secret = request();
  secret.providers = {"cap:secrets.get"};
  secret.envelope = domain::SecretEnvelope{.ciphertext_b64 = "e30="};
  opener_.error = Error{Kind::denied, "secret.expired", "old"};
  const auto refused = execute(role(drop_in()), secret);
  EXPECT_EQ(refused.error, "secret_decrypt_failed");
  EXPECT_EQ(refused.code, "secret.expired");
  EXPECT_EQ(refused.status, 500);
}

TEST_F(RunnerTest, OpensSecretsOnlyForThoseWhoMayReadThem) {
  Options options = drop_in();
  options.envelopes.allow_inline = true;
  auto& runner = role(std::move(options));
  auto with = request();
  with.envelope = domain::SecretEnvelope{.ciphertext_b64 = "e30="};
  EXPECT_EQ(execute(runner, with).status, 201);
  EXPECT_EQ(opener_.calls, 0);
  with.providers = {"cap:ui.proxy"};
  EXPECT_EQ(execute(runner, with).status, 201);
  EXPECT_EQ(opener_.calls, 1);
  EXPECT_EQ(opener_.install, "i1");
  EXPECT_FALSE(engine_.invocations.back().request.envelope);
}

TEST_F(RunnerTest, TellsThePublicOnlyHowAFailureIsCalled) {
  engine_.outcome = {.end = domain::EndClass::guest_error,
                     .response = {},
                     .message = "password=hunter2",
                     .backtrace = "at main.js:1"};
  const auto response = execute(role(drop_in()), request());
  EXPECT_EQ(response.status, 500);
  EXPECT_EQ(response.error, "execute_failed: engine.guest_error");
  EXPECT_FALSE(response.body);
  EXPECT_EQ(records_.executions.at(0).author_error, "password=hunter2\nat main.js:1");
}

TEST_F(RunnerTest, TakesAnImpossibleStatusForTheGuestsError) {
  for (const int status : {0, 99, 100, 199, 600, 65535}) {
    engine_.outcome.response.status = static_cast<std::uint16_t>(status);
    const auto response = execute(role(drop_in()), request());
    EXPECT_EQ(response.error, "execute_failed: runner.bad_guest_status") << status;
    EXPECT_EQ(response.end_class, "guest_error") << status;
    EXPECT_FALSE(response.body) << status;
  }
}

TEST_F(RunnerTest, CallsEveryEndByItsCode) {
  using domain::EndClass;
  const std::vector<std::pair<EndClass, std::string>> ends{
      {EndClass::guest_error, "engine.guest_error"},
      {EndClass::cpu_limit, "engine.cpu_limit"},
      {EndClass::wall_limit, "engine.wall_limit"},
      {EndClass::memory_limit, "engine.memory_limit"},
      {EndClass::table_limit, "engine.table_limit"},
      {EndClass::hostcall_limit, "engine.hostcall_limit"},
      {EndClass::stack_overflow, "engine.stack_overflow"},
      {EndClass::trap, "engine.trap"},
      {EndClass::link_error, "engine.link_error"},
      {EndClass::cancelled, "engine.cancelled"},
      {EndClass::overload, "engine.overload"},
      {EndClass::capability_denied, "engine.capability_denied"},
      {EndClass::egress_denied, "engine.egress_denied"},
      {EndClass::bad_component, "engine.bad_component"},
      {EndClass::platform, "engine.platform"}};
  for (const auto& [end, code] : ends) {
    engine_.outcome = {.end = end, .response = {}, .message = {}, .backtrace = {}};
    const auto response = execute(role(drop_in()), request());
    EXPECT_EQ(response.code, code);
    EXPECT_EQ(response.error, "execute_failed: " + code);
    EXPECT_EQ(response.end_class, domain::info(end).name);
  }
}

TEST_F(RunnerTest, SaysWhenToComeBack) {
  engine_.outcome = {.end = domain::EndClass::overload,
                     .response = {},
                     .message = {},
                     .backtrace = {},
                     .retry_after_s = 3,
                     .tenant_busy = true};
  const auto busy = execute(role(drop_in()), request());
  EXPECT_EQ(busy.status, 429);
  EXPECT_EQ(busy.retry_after_s, 3U);
  engine_.outcome.tenant_busy = false;
  engine_.outcome.stopping = true;
  const auto stopping = execute(role(drop_in()), request());
  EXPECT_EQ(stopping.status, 503);
  EXPECT_EQ(stopping.code, "runner.draining");
  EXPECT_EQ(stopping.retry_after_s, 3U);
  // What a gateway gives to another runner is on record there.
  const std::size_t recorded = records_.executions.size();
  auto of_a_gateway = request();
  of_a_gateway.execution_id = "gateways-id";
  EXPECT_EQ(execute(role(drop_in()), of_a_gateway).code, "runner.draining");
  EXPECT_EQ(records_.executions.size(), recorded);
  engine_.never_ready = true;
  Options options = drop_in();
  options.cold_wait = std::chrono::milliseconds{5};
  const auto cold = execute(role(std::move(options)), request());
  EXPECT_EQ(cold.status, 503);
  EXPECT_EQ(cold.code, "engine.cold");
  EXPECT_GT(cold.retry_after_s, 0U);
  engine_.waiting(std::shared_ptr<engine::Component>{});  // the late answer reaches nobody
  engine_.never_ready = false;
  engine_.load_error = Error{Kind::unavailable, "engine.unavailable", "the machine is busy", 30};
  const auto busy_compiler = execute(role(drop_in()), request());
  EXPECT_EQ(busy_compiler.status, 503);
  EXPECT_EQ(busy_compiler.error, "engine_init_failed: engine.unavailable");
  EXPECT_EQ(busy_compiler.end_class, "overload");
  EXPECT_EQ(busy_compiler.retry_after_s, 30U);
}

TEST_F(RunnerTest, SaysWhoseFaultItIsThatAComponentDoesNotLoad) {
  struct Case {
    Error error;
    const char* text;
    const char* end_class;
  };
  const Case cases[] = {{{Kind::invalid, "engine.link_error", "no such interface"},
                         "execute_failed: engine.link_error",
                         "link_error"},
                        {{Kind::invalid, "engine.bad_component", "not a component"},
                         "execute_failed: engine.bad_component",
                         "bad_component"},
                        {{Kind::invalid, "engine.compile_too_expensive", "too much to compile"},
                         "execute_failed: engine.compile_too_expensive",
                         "bad_component"},
                        {{Kind::too_large, "component.too_large", "too large"},
                         "execute_failed: component.too_large",
                         "bad_component"},
                        {{Kind::unavailable, "engine.unavailable", "no process"},
                         "engine_init_failed: engine.unavailable",
                         "platform"},
                        {{Kind::internal, "engine.artefact_incompatible", "of another version"},
                         "engine_init_failed: engine.artefact_incompatible",
                         "platform"}};
  for (const Case& it : cases) {
    engine_.load_error = it.error;
    records_.executions.clear();
    const auto answer = execute(role(drop_in()), request());
    EXPECT_EQ(answer.status, 500) << it.text;
    EXPECT_EQ(answer.error, it.text);
    EXPECT_EQ(answer.code, it.error.code);
    EXPECT_EQ(answer.end_class, it.end_class) << it.text;
    EXPECT_EQ(answer.retry_after_s, 0U) << it.text;
    ASSERT_EQ(records_.executions.size(), 1U) << it.text;
    EXPECT_EQ(records_.executions[0].end_class, it.end_class) << it.text;
    EXPECT_EQ(records_.executions[0].code, it.error.code);
    EXPECT_EQ(records_.executions[0].author_error, it.error.message)
        << "which the public is not told";
    EXPECT_FALSE(answer.body) << it.text;
  }
  EXPECT_TRUE(engine_.invocations.empty());
}

TEST_F(RunnerTest, FetchesABundleAnewWhoseFilesSomebodyRemoved) {
  auto& runner = role(drop_in());
  ASSERT_EQ(execute(runner, request()).status, 201);
  std::filesystem::remove_all(root_ / hash_.hex());
  EXPECT_EQ(execute(runner, request()).status, 201);
  EXPECT_EQ(engine_.loaded.size(), 3U) << "good, gone, good again";
  std::filesystem::remove_all(root_ / hash_.hex());
  ASSERT_TRUE(store_.remove(blob::bundle_key(tenant_, extension_, hash_)));
  const auto lost = execute(runner, request());
  EXPECT_EQ(lost.error, "bundle_fetch_failed: blob.not_found");
}

TEST_F(RunnerTest, TakesNothingMoreWhenDraining) {
  auto& runner = role(drop_in());
  EXPECT_TRUE(async::block_on(runner.health()).ready());
  EXPECT_TRUE(runner.drain(std::chrono::steady_clock::now()));
  EXPECT_EQ(execute(runner, request()).code, "runner.draining");
  EXPECT_FALSE(async::block_on(runner.health()).ready());
}

TEST_F(RunnerHttpTest, AnswersAsTheReferenceAndMore) {
  serve(drop_in());
  const std::string answer = post(routed, body());
  EXPECT_THAT(answer, HasSubstr("200 OK"));
  EXPECT_THAT(answer, HasSubstr("no-store"));
  EXPECT_THAT(answer, HasSubstr(R"("status":201,"headers":{"x-a":"2"},)"
                                R"("header_list":[["x-a","1"],["x-a","2"]],"body_b64":"aGk=",)"
                                R"("error":null,"code":null,"request_id":"r1")"));
  EXPECT_EQ(engine_.invocations.at(0).request.http.url, "/p?a=1&b=2+%26");
  EXPECT_EQ(engine_.invocations.at(0).request.http.body, "");
}

TEST_F(RunnerHttpTest, TakesBodiesUpToTheConfiguredLimit) {
  Options options = drop_in();
  ASSERT_TRUE(options.limits.set_value(domain::Limit::request_body, 3000));
  serve(std::move(options));
  const auto with = [this](std::size_t size) {
    std::string text = body();
    const std::string given = base64_encode(as_bytes(std::string(size, 'x')));
    return text.replace(text.find(R"("body_b64":"")") + 12, 0, given);
  };
  EXPECT_THAT(post(routed, with(3000)), HasSubstr(R"("status":201)"));
  EXPECT_THAT(post(routed, with(3001)), HasSubstr("limit.request_body"));
  EXPECT_THAT(post(routed, with(2'000'000)), HasSubstr("http.body_too_large"));
}

TEST_F(RunnerHttpTest, BelievesNobodyWithoutTheToken) {
  serve(drop_in());
  EXPECT_THAT(post("x-alga-tenant: t1\r\nx-alga-extension: e1\r\n", body()), HasSubstr(" 401 "));
  EXPECT_THAT(post("x-runner-service-token: tokem\r\n", body()), HasSubstr(" 401 "));
  Options options = drop_in();
  options.service_token = Secret();
  serve(std::move(options));
  EXPECT_THAT(post("x-runner-service-token: \r\n", body()), HasSubstr(" 401 "));
  EXPECT_TRUE(engine_.invocations.empty());
}

/// What an execution without a grant is told by a runner to which nobody has said who may ask:
/// `runner.grant_required` who was heard, `runner.unauthenticated` who was not.
class OpenRunner : public RunnerHttpTest {
 protected:
  void trust(const char* network) {
    httpd::ServerOptions options;
    options.trusted_proxies = {*domain::parse_network(network)};
    httpd::Router router;
    role(Options{}).add_routes(router);
    servers_.push_back(std::make_unique<httpd::TestingServer>(std::move(router), options));
    server_ = servers_.back().get();
  }
  std::string with(const std::string& headers) {
    return post("x-alga-tenant: t1\r\nx-alga-extension: e1\r\n" + headers, body());
  }
  /// Of a connection from that address.
  std::string from(const httpd::Peer& peer) {
    if (!routes_) role(Options{}).add_routes(routes_.emplace());
    const auto match = routes_->match("POST", "/v1/execute");
    httpd::Request request;
    request.method = "POST";
    request.path = "/v1/execute";
    request.peer = peer;
    const auto refused = async::block_on(match.options->admit(std::move(request)));
    return refused ? refused->body : "heard";
  }
  std::optional<httpd::Router> routes_;
};

TEST_F(OpenRunner, HearsThisMachineAndVerifiedCertificatesOnly) {
  for (const char* address : {"127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"}) {
    EXPECT_EQ(from({.address = address, .socket_address = address}), "heard") << address;
  }
  for (const char* address :
       {"203.0.113.5", "10.0.0.7", "::2", "::ffff:10.0.0.7", "::7f00:1", "", "localhost"}) {
    EXPECT_THAT(from({.address = address, .socket_address = address}),
                HasSubstr("runner.unauthenticated"))
        << address;
  }
  EXPECT_EQ(from({.address = "10.0.0.7",
                  .socket_address = "10.0.0.7",
                  .tls = true,
                  .certificate_sha256 = "ab"}),
            "heard");
  serve(Options{});
  EXPECT_THAT(with(""), HasSubstr("runner.grant_required"));
}

TEST_F(OpenRunner, TakesNobodysWordForWhereACallerIs) {
  EXPECT_THAT(from({.address = "127.0.0.1", .socket_address = "10.0.0.7"}),
              HasSubstr("runner.unauthenticated"))
      << "a trusted proxy of another machine passed on what its client had forged";
  EXPECT_THAT(from({.address = "127.0.0.1", .socket_address = "127.0.0.1", .forwarded = true}),
              HasSubstr("runner.unauthenticated"));
}

TEST_F(OpenRunner, HearsNobodyThroughAProxyOnThisMachine) {
  for (const char* trusted : {"127.0.0.0/8", "10.0.0.0/8"}) {
    trust(trusted);
    for (const char* address : {"127.0.0.1", "::1", "203.0.113.5", "127.0.0.1, 203.0.113.5",
                                "203.0.113.5, 127.0.0.1", "unknown", ""}) {
      EXPECT_THAT(with(std::string("x-forwarded-for: ") + address + "\r\n"),
                  HasSubstr("runner.unauthenticated"))
          << trusted << ' ' << address;
    }
    for (const char* header : {"forwarded: for=127.0.0.1", "via: 1.1 proxy", "x-real-ip: ::1",
                               "x-forwarded-proto: https", "x-forwarded-host: x"}) {
      EXPECT_THAT(with(std::string(header) + "\r\n"), HasSubstr("runner.unauthenticated"))
          << trusted << ' ' << header;
    }
  }
  EXPECT_THAT(with(""), HasSubstr("runner.grant_required")) << "10.0.0.0/8 is not here";
  trust("127.0.0.0/8");
  EXPECT_THAT(with(""), HasSubstr("runner.unauthenticated"))
      << "a proxy that says nothing about its client";
}

TEST_F(RunnerHttpTest, HoldsHeadersAndBodyTogether) {
  serve(drop_in());
  const std::string missing = post(known, body());
  EXPECT_THAT(missing, HasSubstr("200 OK"));
  EXPECT_THAT(missing, HasSubstr(R"("error":"missing_routing_headers")"));
  EXPECT_THAT(post(known + "x-alga-tenant: t2\r\nx-alga-extension: e1\r\n", body()),
              HasSubstr("runner.identity_mismatch"));
  EXPECT_THAT(post(routed + "x-ext-install-id: i2\r\n", body()),
              HasSubstr("runner.identity_mismatch"));
  EXPECT_THAT(post(routed + "x-ext-secrets-envelope: {}\r\n", body()),
              HasSubstr("secret.header_mismatch"));
  for (const char* second : {"X-Alga-Tenant: t2", "X-Alga-Extension: e2"}) {
    EXPECT_THAT(post(routed + second + "\r\n", body()), HasSubstr("runner.identity_mismatch"))
        << "after the one that agrees: " << second;
  }
  EXPECT_THAT(post(routed + "x-ext-install-id: i1\r\nx-ext-install-id: i2\r\n", body()),
              HasSubstr("runner.identity_mismatch"));
  EXPECT_THAT(post(routed, "{"), HasSubstr(" 400 "));
  EXPECT_TRUE(engine_.invocations.empty());
}

TEST_F(RunnerHttpTest, RepeatsTheAnswerForAKeyAndRefusesItsMisuse) {
  serve(drop_in());
  const std::string keyed = routed + "x-idempotency-key: k1\r\n";
  EXPECT_THAT(post(keyed, body()), HasSubstr(R"("status":201)"));
  EXPECT_THAT(post(keyed, body()), HasSubstr(R"("status":201)"));
  EXPECT_EQ(engine_.invocations.size(), 1U);
  std::string other = body();
  other.replace(other.find("/p"), 2, "/q");
  EXPECT_THAT(post(keyed, other), HasSubstr(" 422 "));
  EXPECT_EQ(engine_.invocations.size(), 1U);
}

TEST_F(RunnerHttpTest, TellsWhatStillRunsFromWhatIsAnotherRequest) {
  httpd::Router router;
  role(drop_in()).add_routes(router);
  const auto ask = [&](std::string text) {
    httpd::Request request;
    request.method = "POST";
    request.path = "/v1/execute";
    request.headers = {{"x-runner-service-token", "token"},
                       {"x-alga-tenant", "t1"},
                       {"x-alga-extension", "e1"},
                       {"x-idempotency-key", "k1"},
                       {"content-type", "application/json"}};
    request.body_size = text.size();
    request.body = std::move(text);
    return async::block_on((*router.match("POST", "/v1/execute").handler)(std::move(request)));
  };
  std::string another = body();
  another.replace(another.find("/p"), 2, "/q");
  httpd::Response same_meanwhile;
  httpd::Response another_meanwhile;
  engine_.during = [&] {
    if (engine_.invocations.size() > 1) return;
    same_meanwhile = ask(body());
    another_meanwhile = ask(another);
  };
  EXPECT_THAT(ask(body()).body, HasSubstr(R"("status":201)"));
  EXPECT_EQ(same_meanwhile.status, 409);
  EXPECT_THAT(same_meanwhile.body, HasSubstr("idempotency.in_progress"));
  EXPECT_EQ(another_meanwhile.status, 422);
  EXPECT_THAT(another_meanwhile.body, HasSubstr("idempotency.mismatch"));
  EXPECT_THAT(ask(body()).body, HasSubstr(R"("status":201)")) << "now it is repeated";
  EXPECT_EQ(engine_.invocations.size(), 1U);
}

TEST_F(RunnerHttpTest, WarmsUpByOrderOfTheControlPlaneWithoutKnowingTheCaller) {
  serve(drop_in());
  store_.put(blob::shared_bundle_key(hash_), archive_);
  const std::string what = R"({"content_hash":")" + hash_.prefixed() + R"("})";
  const auto with = [](const std::string& order) { return "x-alga-warmup: " + order + "\r\n"; };
  const std::string good = domain::sign_warmup(hash_, clock_.wall(), key_);
  EXPECT_THAT(post(with(good), what, "/warmup"), HasSubstr("ready"));
  EXPECT_EQ(engine_.loaded.size(), 1U);
  const std::string foreign =
      domain::sign_warmup(hash_, clock_.wall(), crypto::SigningKey::generate());
  EXPECT_THAT(post(with(foreign), what, "/warmup"), HasSubstr("grant.unknown_key"));
  EXPECT_THAT(post(with("nonsense"), what, "/warmup"), HasSubstr("grant.malformed"));
  const std::string other = R"({"content_hash":")" + std::string(64, 'b') + R"("})";
  EXPECT_THAT(post(with(good), other, "/warmup"), HasSubstr("grant.hash_mismatch"));
  EXPECT_THAT(post(with(good), body()), HasSubstr(" 401 ")) << "nothing is executed for it";
  EXPECT_EQ(engine_.loaded.size(), 1U);
}

TEST_F(RunnerHttpTest, WarmsUpAndTellsItsHealth) {
  serve(drop_in());
  const std::string what =
      R"({"tenant_id":"t1","extension_id":"e1","content_hash":")" + hash_.prefixed() + R"("})";
  EXPECT_THAT(post(known, what, "/warmup"), HasSubstr("ready"));
  EXPECT_EQ(engine_.loaded.size(), 1U);
  EXPECT_THAT(post("", what, "/warmup"), HasSubstr(" 401 "));
  const std::string nobody = R"({"content_hash":")" + hash_.prefixed() + R"("})";
  EXPECT_THAT(post(known, nobody, "/warmup"), HasSubstr("runner.invalid_request"));
  const std::string health = get("/healthz");
  EXPECT_THAT(health, HasSubstr(R"("bundle_store":"ok")"));
  EXPECT_THAT(health, HasSubstr(R"("ext_cache_max_bytes":null)"));
  EXPECT_THAT(get("/readyz"), HasSubstr(" 200 "));
}

TEST_F(RunnerHttpTest, IsReadyWithoutItsStoreForWhatItHas) {
  store_.fail_with(Error{Kind::unavailable, "blob.unavailable", "down"});
  serve(drop_in());
  EXPECT_THAT(get("/readyz"), HasSubstr(" 503 ")) << "it has nothing";
  EXPECT_THAT(get("/healthz"), HasSubstr(" 200 "));
  store_.fail_with(std::nullopt);
  ASSERT_THAT(post(routed, body()), HasSubstr(R"("status":201)"));
  store_.fail_with(Error{Kind::unavailable, "blob.unavailable", "down"});
  serve(drop_in());  // as after a restart
  EXPECT_THAT(get("/readyz"), HasSubstr(" 200 "));
  EXPECT_THAT(get("/readyz"),
              HasSubstr(R"("ready":true,"cache_writable":true,"store_reachable":false)"));
  EXPECT_THAT(get("/healthz"), HasSubstr("bundle_store_unreachable"));
  EXPECT_THAT(post(routed, body()), HasSubstr(R"("status":201)"));
  store_.fail_with(Error{Kind::denied, "blob.denied", "a key that is not taken"});
  serve(drop_in());
  EXPECT_THAT(get("/readyz"), HasSubstr(" 503 ")) << "a fault of this runner";
  EXPECT_THAT(get("/healthz"), HasSubstr(" 200 "));
  role_->drain(clock_.steady());
  EXPECT_THAT(get("/readyz"), HasSubstr(R"("draining":true)"));
}

}  // namespace
}  // namespace alga::runner
