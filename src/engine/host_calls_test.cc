// Each capability as its guest meets it, called directly: no guest, no engine, fakes behind every
// port.

#include <gmock/gmock.h>

#include "engine/testing_host.h"

namespace alga::engine {
namespace {

using domain::Limit;
using ::testing::ElementsAre;
using testing::HostCallsTest;
using ::testing::IsEmpty;
using testing::KeptCall;

// ---- context, configuration, secrets, user, log ------------------------------------------------

TEST_F(HostCallsTest, ContextSaysWhoseRequestItIs) {
  const auto call = answered(AB_OP_CONTEXT_GET);
  const std::map<std::string, std::string> wanted{
      {"tenant", "acme"}, {"extension", "ext"}, {"request", "request"}, {"install", "install"}};
  EXPECT_EQ(call->fields, wanted);
}

TEST_F(HostCallsTest, ContextSaysHowMuchTimeIsLeftAndNeverLessThanNone) {
  const auto call = answered(AB_OP_CONTEXT_REMAINING);
  EXPECT_EQ(call->how, "u64");
  EXPECT_EQ(call->number, 0U) << "it never started, so its deadline is over";
}

TEST_F(HostCallsTest, ConfigurationIsReadByKeyAndAsAWhole) {
  const auto one = answered(AB_OP_CONFIG_GET, "colour");
  EXPECT_EQ(one->text, "green");
  const auto none = answered(AB_OP_CONFIG_GET, "Colour");
  EXPECT_EQ(none->how, "none");
  const auto all = answered(AB_OP_CONFIG_ENTRIES);
  EXPECT_THAT(all->pairs, ElementsAre(std::pair("colour", "green"), std::pair("size", "3")));
}

TEST_F(HostCallsTest, ASecretIsGivenOnRecordAndNamedNowhereInFull) {
  const auto given = answered(AB_OP_SECRET_GET, "api_key");
  EXPECT_EQ(given->text, "hunter2");
  const auto missing = answered(AB_OP_SECRET_GET, "password-of-root");
  EXPECT_EQ(missing->error, AB_ERR_MISSING);
  const auto names = answered(AB_OP_SECRET_KEYS);
  EXPECT_THAT(names->pairs, ElementsAre(std::pair("api_key", ""), std::pair("other", "")));
  EXPECT_THAT(records.events(), ElementsAre("secret_read ap…ey", "secret_read pa…ot"));
}

TEST_F(HostCallsTest, WithoutSecretsEveryNameIsMissing) {
  invocation.secrets = nullptr;
  const auto one = answered(AB_OP_SECRET_GET, "api_key");
  EXPECT_EQ(one->error, AB_ERR_MISSING);
  const auto names = answered(AB_OP_SECRET_KEYS);
  EXPECT_THAT(names->pairs, IsEmpty());
}

TEST_F(HostCallsTest, TheUserIsTheOneOfTheRequestUnderItsOwnTenant) {
  invocation.request.user = domain::UserIdentity{.user_id = "u1",
                                                 .user_email = "u@acme.test",
                                                 .user_name = "U",
                                                 .user_type = "client",
                                                 .client_name = "C",
                                                 .client_id = "c1",
                                                 .additional_fields = {{"team", "red"}}};
  const auto call = answered(AB_OP_USER_GET);
  const std::map<std::string, std::string> wanted{
      {"tenant", "acme"}, {"id", "u1"},         {"email", "u@acme.test"}, {"name", "U"},
      {"type", "client"}, {"client_name", "C"}, {"client_id", "c1"}};
  EXPECT_EQ(call->fields, wanted);
  EXPECT_THAT(call->pairs, ElementsAre(std::pair("team", "red")));
}

TEST_F(HostCallsTest, ARequestWithoutUserHasNone) {
  const auto call = answered(AB_OP_USER_GET);
  EXPECT_EQ(call->error, AB_ERR_MISSING);
}

TEST_F(HostCallsTest, LogLinesGoToTheRecords) {
  EXPECT_EQ(execution().on_log(AB_LOG_WARN, "a\nb"), 0);
  EXPECT_EQ(execution().on_stdio(1, "printed\n"), 0);
  EXPECT_THAT(records.lines(), ElementsAre("a\\x0ab", "printed"));
}

TEST_F(HostCallsTest, WhateverAGuestIsToldCountsAmongItsBytes) {
  invocation.request.user = domain::UserIdentity{.user_id = "u1",
                                                 .user_email = "u@acme.test",
                                                 .user_name = "U",
                                                 .user_type = "client",
                                                 .client_name = "C",
                                                 .client_id = "c1",
                                                 .additional_fields = {{"team", "red"}}};
  const auto bytes_of = [this](ab_op op, std::string_view key = {}) {
    reset();
    answered(op, key);
    return end_with(AB_END_OK).host_bytes - key.size();
  };
  // Every question of this test has the same arguments beside its key; this one is told a number.
  const std::uint64_t asking = bytes_of(AB_OP_CONTEXT_REMAINING);
  const auto told = [&](ab_op op, std::string_view key = {}) { return bytes_of(op, key) - asking; };
  const auto length = [](std::string_view text) { return text.size(); };
  EXPECT_EQ(told(AB_OP_CONTEXT_GET), length("request acme ext install") - 3);
  EXPECT_EQ(told(AB_OP_CONFIG_GET, "colour"), length("green"));
  EXPECT_EQ(told(AB_OP_CONFIG_ENTRIES), length("colour green size 3") - 3);
  EXPECT_EQ(told(AB_OP_SECRET_GET, "api_key"), length("hunter2"));
  EXPECT_EQ(told(AB_OP_SECRET_KEYS), length("api_key other") - 1);
  EXPECT_EQ(told(AB_OP_USER_GET), length("acme C u1 u@acme.test U client c1 team red") - 8);
  EXPECT_EQ(told(AB_OP_STORAGE_GET), length("notes customer-42 stored") - 2);
  EXPECT_EQ(told(AB_OP_STORAGE_LIST), length("notes a stored notes b stored") - 5);
  EXPECT_EQ(told(AB_OP_HTTP_FETCH), length("x y body") - 2);
  EXPECT_EQ(told(AB_OP_UI_CALL, "/route"), length("page"));
}

TEST_F(HostCallsTest, AUserBeyondTheBytesOfTheExecutionAbortsIt) {
  ASSERT_TRUE(options.limits.set_value(Limit::host_bytes, 1000));
  invocation.request.user =
      domain::UserIdentity{.additional_fields = {{"x", std::string(999, 'x')}}};
  EXPECT_EQ(answered(AB_OP_USER_GET)->how, "abort");
  EXPECT_EQ(end_with(AB_END_HOST).end, domain::EndClass::hostcall_limit);
  EXPECT_EQ(limits_hit(), "limit.host_bytes");
}

// ---- http --------------------------------------------------------------------------------------

TEST_F(HostCallsTest, ARequestGoesOutUnderThePolicyOfItsInstall) {
  const ab_pair header{to_ab("x-a"), to_ab("1")};
  asked.headers = &header;
  asked.n_headers = 1;
  asked.body = to_ab_view("sent");
  asked.has_body = 1;
  const auto policy = invocation.egress;
  const auto call = answered(AB_OP_HTTP_FETCH);
  ASSERT_EQ(egress.requests.size(), 1U);
  const domain::EgressRequest& sent = egress.requests[0];
  EXPECT_EQ(sent.http.method, "GET");
  EXPECT_EQ(sent.http.url, "https://user:pw@api.test/path?token=hunter2");
  EXPECT_EQ(sent.http.headers.at(0).name, "x-a");
  EXPECT_EQ(sent.http.body, "sent");
  EXPECT_EQ(sent.policy, policy);
  EXPECT_EQ(sent.partition, "acme/install/" + policy->digest());
  EXPECT_EQ(sent.depth, 3U) << "one more than the request that it serves";
  EXPECT_EQ(sent.max_response_bytes, options.limits.value(Limit::fetch_response));
  EXPECT_EQ(sent.header_limits.fields, options.limits.value(Limit::header_count));
  EXPECT_EQ(sent.header_limits.bytes, options.limits.value(Limit::header_bytes));
  EXPECT_EQ(call->number, 204U);
  EXPECT_EQ(call->text, "body");
  EXPECT_THAT(call->pairs, ElementsAre(std::pair("x", "y")));
}

TEST_F(HostCallsTest, EveryFailureOfARequestHasACaseOfItsOwn) {
  const std::vector<std::pair<std::string_view, ab_err>> wanted{
      {"egress.denied", AB_ERR_DENIED},
      {"egress.invalid_url", AB_ERR_INVALID},
      {"egress.timeout", AB_ERR_TIMEOUT},
      {"egress.too_large", AB_ERR_TOO_LARGE},
      {"egress.transport", AB_ERR_TRANSPORT},
      {"egress.cancelled", AB_ERR_TRANSPORT},
      {"egress.overloaded", AB_ERR_LIMIT},
      {"egress.invalid_request", AB_ERR_INVALID},
      {"egress.too_many_headers", AB_ERR_TOO_LARGE},
      {"egress.headers_too_large", AB_ERR_TOO_LARGE},
      {"egress.unheard_of", AB_ERR_INTERNAL}};
  for (const auto& [code, error] : wanted) {
    egress.answer = fail(Kind::unavailable, code, "why");
    const auto call = answered(AB_OP_HTTP_FETCH);
    EXPECT_EQ(call->error, error) << code;
    EXPECT_EQ(call->answers, 1) << code;
  }
  EXPECT_THAT(records.events(), ElementsAre("egress_denied https://…@api.test/path"));
  EXPECT_EQ(metrics.count("alga_denials_total{egress}"), 1);
  EXPECT_EQ(metrics.count("alga_limit_hits_total{fetch_response}"), 1);
  EXPECT_EQ(metrics.count("alga_limit_hits_total{fetch_time}"), 1);
}

TEST_F(HostCallsTest, WithoutAPolicyOrAWayOutEveryAddressIsDenied) {
  invocation.egress = nullptr;
  const auto call = answered(AB_OP_HTTP_FETCH);
  EXPECT_EQ(call->error, AB_ERR_DENIED);
  EXPECT_THAT(egress.requests, IsEmpty());
}

TEST_F(HostCallsTest, OneRequestMoreThanAllowedIsNotSent) {
  ASSERT_TRUE(options.limits.set_value(Limit::fetch_calls, 2));
  for (int i = 0; i < 2; ++i) {
    const auto call = answered(AB_OP_HTTP_FETCH);
    EXPECT_EQ(call->how, "http");
  }
  const auto third = answered(AB_OP_HTTP_FETCH);
  EXPECT_EQ(third->error, AB_ERR_LIMIT);
  EXPECT_EQ(egress.requests.size(), 2U);
  EXPECT_EQ(metrics.count("alga_limit_hits_total{fetch_calls}"), 1);
}

TEST_F(HostCallsTest, AnAbandonedRequestIsCancelledOnce) {
  egress.held = true;
  KeptCall call(5);
  EXPECT_EQ(ask(call, AB_OP_HTTP_FETCH), 0);
  execution().on_abandoned(4);
  EXPECT_THAT(egress.cancelled, IsEmpty());
  execution().on_abandoned(5);
  execution().on_abandoned(5);
  EXPECT_THAT(egress.cancelled, ElementsAre(71));
  egress.waiting(fail(Kind::timeout, "egress.cancelled", "given up"));
  EXPECT_EQ(call.error, AB_ERR_TRANSPORT) << "completing it is still required";
}

TEST_F(HostCallsTest, AnAnswerBeyondTheBytesOfTheExecutionAbortsIt) {
  ASSERT_TRUE(options.limits.set_value(Limit::host_bytes, 1000));
  egress.answer = domain::HttpResponse{200, {}, std::string(1000, 'x')};
  const auto call = answered(AB_OP_HTTP_FETCH);
  EXPECT_EQ(call->how, "abort");
  KeptCall entries;
  EXPECT_NE(ask(entries, AB_OP_CONFIG_ENTRIES, std::string(1000, 'k')), 0);
  EXPECT_EQ(entries.answers, 0) << "the bridge ends the guest and keeps the call";
}

// ---- storage -----------------------------------------------------------------------------------

TEST_F(HostCallsTest, StorageIsAskedForItsOwnInstallOnly) {
  const auto read = answered(AB_OP_STORAGE_GET);
  stored.condition = AB_REVISION;
  stored.revision = 7;
  stored.has_ttl = 1;
  stored.ttl_seconds = 60;
  const auto written = answered(AB_OP_STORAGE_PUT);
  const auto removed = answered(AB_OP_STORAGE_DELETE);
  storage.next = "cursor";
  const auto listed = answered(AB_OP_STORAGE_LIST);
  EXPECT_THAT(storage.calls, ElementsAre("get acme install the-grant notes customer-42",
                                         "put acme install the-grant notes customer-42",
                                         "remove acme install the-grant notes customer-42",
                                         "list acme install the-grant notes customer-42"));
  EXPECT_EQ(read->text, "stored");
  EXPECT_EQ(read->number, 7U);
  EXPECT_EQ(written->number, 8U);
  EXPECT_EQ(storage.puts.at(0).condition.kind, domain::WriteCondition::Kind::revision);
  EXPECT_EQ(storage.puts.at(0).condition.revision, 7U);
  EXPECT_EQ(storage.puts.at(0).ttl_seconds, 60U);
  EXPECT_EQ(removed->how, "none");
  EXPECT_EQ(storage.removed_if.revision, 7U);
  EXPECT_THAT(listed->pairs, ElementsAre(std::pair("a", "stored"), std::pair("b", "stored")));
  EXPECT_EQ(listed->fields.at("next"), "cursor");
}

TEST_F(HostCallsTest, ACreateOnlyWriteSaysSo) {
  stored.condition = AB_CREATE_ONLY;
  answered(AB_OP_STORAGE_PUT);
  EXPECT_EQ(storage.puts.at(0).condition.kind, domain::WriteCondition::Kind::create_only);
  EXPECT_FALSE(storage.puts.at(0).ttl_seconds);
}

TEST_F(HostCallsTest, APageIsAsLongAsItsInterfaceCanTell) {
  for (const auto& [via, asked_for, given] :
       {std::tuple{AB_VIA_V1, 0U, 25U}, std::tuple{AB_VIA_COMPAT, 0U, 100U},
        std::tuple{AB_VIA_V1, 3U, 3U}}) {
    KeptCall call;
    stored.limit = asked_for;
    ab_host_request request{};
    request.op = AB_OP_STORAGE_LIST;
    request.via = via;
    request.storage = &stored;
    EXPECT_EQ(execution().on_call(request, call.raw()), 0);
    EXPECT_EQ(storage.limits.back(), given);
  }
}

TEST_F(HostCallsTest, EveryFailureOfStorageHasACaseOfItsOwn) {
  const std::vector<std::pair<std::string_view, ab_err>> wanted{
      {"storage.missing", AB_ERR_MISSING},      {"storage.conflict", AB_ERR_CONFLICT},
      {"storage.too_large", AB_ERR_INVALID},    {"storage.invalid", AB_ERR_INVALID},
      {"storage.quota", AB_ERR_QUOTA},          {"storage.denied", AB_ERR_DENIED},
      {"storage.unavailable", AB_ERR_INTERNAL}, {"storage.schema_violation", AB_ERR_INVALID}};
  for (const auto& [code, error] : wanted) {
    storage.error = Error{Kind::unavailable, code, "why"};
    for (const ab_op op :
         {AB_OP_STORAGE_GET, AB_OP_STORAGE_PUT, AB_OP_STORAGE_DELETE, AB_OP_STORAGE_LIST}) {
      const auto call = answered(op);
      EXPECT_EQ(call->error, error) << code << " " << op;
    }
  }
}

TEST_F(HostCallsTest, AValueThatFitsNoSchemaIsInvalidToTheGuestAndExplainedToItsAuthor) {
  storage.error = Error{Kind::invalid, "storage.schema_violation", "/count: not\na number"};
  EXPECT_EQ(answered(AB_OP_STORAGE_PUT)->error, AB_ERR_INVALID);
  EXPECT_THAT(records.lines(),
              ElementsAre("storage: notes/customer-42 was not written, as it does not fit the "
                          "schema of its namespace: /count: not\\x0aa number"));
  for (int i = 0; i < 100; ++i) answered(AB_OP_STORAGE_PUT);
  EXPECT_EQ(records.lines().size(), 20U) << "a loop does not fill the log";
  storage.error = Error{Kind::invalid, "storage.invalid", "why"};
  reset();
  answered(AB_OP_STORAGE_PUT);
  EXPECT_EQ(records.lines().size(), 20U) << "other refusals need no explanation";
}

TEST_F(HostCallsTest, TheLimitThatAWriteMeetsIsNamedToItsAuthor) {
  storage.error = Error{Kind::rate_limited, "storage.quota", "keys: at most 2 (limits.keys)"};
  EXPECT_EQ(answered(AB_OP_STORAGE_PUT)->error, AB_ERR_QUOTA);
  storage.error = Error{Kind::too_large, "storage.too_large", "a value: at most 1 (limits.value)"};
  EXPECT_EQ(answered(AB_OP_STORAGE_PUT)->error, AB_ERR_INVALID);
  EXPECT_THAT(
      records.lines(),
      ElementsAre("storage: notes/customer-42 was not written: keys: at most 2 (limits.keys)",
                  "storage: notes/customer-42 was not written: a value: at most 1 (limits.value)"));
}

TEST_F(HostCallsTest, ARecordBeyondTheBytesOfTheExecutionAbortsIt) {
  ASSERT_TRUE(options.limits.set_value(Limit::host_bytes, 1000));
  storage.value = std::string(1000, 'x');
  for (const ab_op op : {AB_OP_STORAGE_GET, AB_OP_STORAGE_LIST}) {
    KeptCall call;
    (void)ask(call, op);
    EXPECT_TRUE(call.how == "abort" || call.answers == 0) << call.how;
  }
}

TEST_F(HostCallsTest, StorageThatIsNotThereIsDeniedOnRecord) {
  no_storage = true;
  const auto call = answered(AB_OP_STORAGE_GET);
  EXPECT_EQ(call->error, AB_ERR_DENIED);
  EXPECT_THAT(records.events(), ElementsAre("denied storage"));
}

TEST_F(HostCallsTest, WithoutAnInstallThereIsNothingToStoreUnder) {
  invocation.install = std::nullopt;
  const auto call = answered(AB_OP_STORAGE_PUT);
  EXPECT_EQ(call->error, AB_ERR_DENIED);
  EXPECT_THAT(storage.calls, IsEmpty());
}

// ---- ui-proxy ----------------------------------------------------------------------------------

TEST_F(HostCallsTest, ARouteIsCalledForItsUserWithItsSecretsAndItsDepth) {
  invocation.request.user = domain::UserIdentity{.user_id = "u1"};
  const auto secrets = invocation.secrets;
  KeptCall call;
  ab_host_request request{};
  request.op = AB_OP_UI_CALL;
  request.key = to_ab("/api/x?q=1");
  request.body = to_ab_view("{}");
  request.has_body = 1;
  EXPECT_EQ(execution().on_call(request, call.raw()), 0);
  ASSERT_EQ(ui_proxy.calls.size(), 1U);
  const UiProxy::Call& made = ui_proxy.calls[0];
  EXPECT_EQ(made.route, "/api/x?q=1");
  EXPECT_EQ(made.payload, "{}");
  EXPECT_EQ(made.who.tenant, "acme");
  EXPECT_EQ(made.user->user_id, "u1");
  EXPECT_EQ(made.secrets, secrets);
  EXPECT_EQ(made.depth, 3U);
  EXPECT_EQ(call.how, "bytes");
  EXPECT_EQ(call.text, "page");
}

TEST_F(HostCallsTest, EveryFailureOfARouteHasACaseOfItsOwn) {
  const std::vector<std::pair<std::string_view, ab_err>> wanted{
      {"ui_proxy.denied", AB_ERR_DENIED},
      {"ui_proxy.route_not_found", AB_ERR_MISSING},
      {"ui_proxy.bad_request", AB_ERR_INVALID},
      {"ui_proxy.unavailable", AB_ERR_INTERNAL}};
  for (const auto& [code, error] : wanted) {
    ui_proxy.answer = fail(Kind::unavailable, code, "why");
    const auto call = answered(AB_OP_UI_CALL, "/api/x");
    EXPECT_EQ(call->error, error) << code;
  }
}

TEST_F(HostCallsTest, ARouteThatIsStillAskedIsCancelledWithItsExecution) {
  ui_proxy.held = true;
  KeptCall call(5);
  EXPECT_EQ(ask(call, AB_OP_UI_CALL, "/api/x"), 0);
  execution().on_abandoned(5);
  execution().on_abandoned(5);
  EXPECT_THAT(ui_proxy.cancelled, ElementsAre(91));
  EXPECT_THAT(egress.cancelled, IsEmpty()) << "the number is the other port's";
  ui_proxy.waiting(fail(Kind::unavailable, "ui_proxy.unavailable", "given up"));
  EXPECT_EQ(call.error, AB_ERR_INTERNAL) << "completing it is still required";
}

TEST_F(HostCallsTest, RoutesCountAmongTheRequestsOfTheirExecution) {
  ASSERT_TRUE(options.limits.set_value(Limit::fetch_calls, 2));
  EXPECT_EQ(answered(AB_OP_HTTP_FETCH)->how, "http");
  EXPECT_EQ(answered(AB_OP_UI_CALL, "/api/x")->how, "bytes");
  EXPECT_EQ(answered(AB_OP_UI_CALL, "/api/x")->error, AB_ERR_DENIED);
  EXPECT_EQ(answered(AB_OP_HTTP_FETCH)->error, AB_ERR_LIMIT);
  EXPECT_EQ(ui_proxy.calls.size(), 1U);
  EXPECT_EQ(metrics.count("alga_limit_hits_total{fetch_calls}"), 2);
}

TEST_F(HostCallsTest, WhatARouteIsGivenAndAnswersIsBounded) {
  ASSERT_TRUE(options.limits.set_value(Limit::ui_payload, 4));
  const auto post = [this](std::string_view payload) {
    KeptCall call;
    ab_host_request request{};
    request.op = AB_OP_UI_CALL;
    request.key = to_ab("/api/x");
    request.body = to_ab_view(payload);
    request.has_body = 1;
    EXPECT_EQ(execution().on_call(request, call.raw()), 0);
    return call.error;
  };
  EXPECT_EQ(post("1234"), std::nullopt);
  EXPECT_EQ(post("12345"), AB_ERR_INVALID);
  ASSERT_EQ(ui_proxy.calls.size(), 1U) << "what is too large goes nowhere";
  EXPECT_EQ(ui_proxy.calls[0].max_response_bytes, options.limits.value(Limit::fetch_response));
  ui_proxy.answer = fail(Kind::too_large, "ui_proxy.too_large", "why");
  EXPECT_EQ(post("1"), AB_ERR_INTERNAL);
  end_with(AB_END_OK);
  EXPECT_EQ(limits_hit(), "limit.fetch_response limit.ui_payload");
}

TEST_F(HostCallsTest, WithoutAHostApplicationNoRouteIsKnown) {
  no_ui_proxy = true;
  const auto call = answered(AB_OP_UI_CALL, "/api/x");
  EXPECT_EQ(call->error, AB_ERR_MISSING);
}

}  // namespace
}  // namespace alga::engine
