// What a host call leaves behind when it is denied, stopped by a limit or only written down: the
// same for every capability, and tried for every one.

#include <gmock/gmock.h>

#include "engine/redaction.h"
#include "engine/testing_host.h"

namespace alga::engine {
namespace {

using domain::Capability;
using domain::Limit;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::HostCallsTest;
using ::testing::IsEmpty;
using testing::KeptCall;
using ::testing::Not;

// ---- denials -----------------------------------------------------------------------------------

struct Denial {
  Capability capability;
  ab_op op;
  const char* target;
};

class DenialsTest : public HostCallsTest, public ::testing::WithParamInterface<Denial> {};

TEST_P(DenialsTest, AreAnErrorARecordACountAndALine) {
  const Denial& tried = GetParam();
  invocation.capabilities.remove(tried.capability);
  KeptCall call;
  const int ended = ask(call, tried.op, "api_key");
  if (tried.capability == Capability::context_read) {
    EXPECT_NE(ended, 0) << "its interface knows no error, so the guest ends";
    EXPECT_EQ(call.answers, 0);
  } else {
    EXPECT_EQ(ended, 0);
    EXPECT_EQ(call.error, AB_ERR_DENIED);
    EXPECT_EQ(call.answers, 1);
  }
  EXPECT_THAT(records.events(), ElementsAre(std::string("denied ") + tried.target));
  EXPECT_EQ(metrics.count("alga_denials_total{capability}"), 1);
  EXPECT_THAT(log->lines(),
              ElementsAre(HasSubstr(std::string("capability denied target=") + tried.target +
                                    " reason=" + std::string(domain::name(tried.capability)) +
                                    " tenant=acme extension=ext request_id=request")));
  EXPECT_THAT(egress.requests, IsEmpty());
  EXPECT_THAT(storage.calls, IsEmpty());
  EXPECT_THAT(ui_proxy.calls, IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(
    OfEachCapability, DenialsTest,
    ::testing::Values(Denial{Capability::context_read, AB_OP_CONTEXT_GET, "context"},
                      Denial{Capability::context_read, AB_OP_CONTEXT_REMAINING, "context"},
                      Denial{Capability::config_read, AB_OP_CONFIG_GET, "config"},
                      Denial{Capability::config_read, AB_OP_CONFIG_ENTRIES, "config"},
                      Denial{Capability::secrets_get, AB_OP_SECRET_GET, "secrets"},
                      Denial{Capability::secrets_get, AB_OP_SECRET_KEYS, "secrets"},
                      Denial{Capability::http_fetch, AB_OP_HTTP_FETCH, "http"},
                      Denial{Capability::storage_kv, AB_OP_STORAGE_GET, "storage"},
                      Denial{Capability::storage_kv, AB_OP_STORAGE_PUT, "storage"},
                      Denial{Capability::storage_kv, AB_OP_STORAGE_DELETE, "storage"},
                      Denial{Capability::storage_kv, AB_OP_STORAGE_LIST, "storage"},
                      Denial{Capability::ui_proxy, AB_OP_UI_CALL, "ui-proxy"},
                      Denial{Capability::user_read, AB_OP_USER_GET, "user"}),
    [](const auto& info) {
      std::string name(info.param.target);
      std::erase(name, '-');
      return name + "_" + std::to_string(static_cast<int>(info.param.op));
    });

TEST_F(HostCallsTest, LinesOfAGuestThatMayNotLogLeaveOneRecordAndAllCount) {
  invocation.capabilities.remove(Capability::log_emit);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(execution().on_log(AB_LOG_INFO, "line"), 0);
  EXPECT_THAT(records.lines(), IsEmpty());
  EXPECT_THAT(records.events(), ElementsAre("denied logging"));
  EXPECT_EQ(metrics.count("alga_denials_total{capability}"), 3);
}

TEST_F(HostCallsTest, WhatIsNotOfferedHereIsOnRecord) {
  KeptCall never;
  ab_host_request request{};
  request.op = AB_OP_UNOFFERED;
  request.key = to_ab("alga:extension/scheduler#list");
  EXPECT_EQ(execution().on_call(request, nullptr), 0);
  EXPECT_THAT(records.events(), ElementsAre("denied alga:extension/scheduler#list"));
}

TEST_F(HostCallsTest, WhatIsNotOfferedHereIsAHostCallAsAnyOther) {
  ASSERT_TRUE(options.limits.set_value(Limit::host_calls, 3));
  ab_host_request request{};
  request.op = AB_OP_UNOFFERED;
  request.key = to_ab("alga:extension/scheduler#list");
  for (int i = 0; i < 3; ++i) EXPECT_EQ(execution().on_call(request, nullptr), 0);
  EXPECT_NE(execution().on_call(request, nullptr), 0);
  EXPECT_EQ(records.events().size(), 1U) << "the others are counted";
  EXPECT_EQ(metrics.count("alga_limit_hits_total{host_calls}"), 1);
}

TEST_F(HostCallsTest, AGuestThatIsBeingStoppedIsHeardNoMore) {
  ASSERT_TRUE(options.limits.set_value(Limit::host_calls, 1));
  answered(AB_OP_USER_GET);
  KeptCall second, third;
  EXPECT_NE(ask(second, AB_OP_STORAGE_GET), 0);
  EXPECT_NE(ask(third, AB_OP_STORAGE_GET), 0);
  EXPECT_NE(execution().on_log(AB_LOG_INFO, "line"), 0);
  EXPECT_NE(execution().on_stdio(2, "line\n"), 0);
  EXPECT_EQ(second.answers + third.answers, 0);
  EXPECT_THAT(storage.calls, IsEmpty());
  EXPECT_THAT(records.lines(), IsEmpty());
  EXPECT_EQ(metrics.count("alga_limit_hits_total{host_calls}"), 1) << "and the limit counts once";
}

TEST_F(HostCallsTest, HeadersAreBytesOfAHostCall) {
  const std::string value(400, 'v');
  const ab_pair header{to_ab("x-long"), to_ab(value)};
  asked.headers = &header;
  asked.n_headers = 1;
  ASSERT_TRUE(options.limits.set_value(Limit::host_bytes, 700));
  egress.answer = domain::HttpResponse{200, {{"x-back", std::string(200, 'b')}}, ""};
  answered(AB_OP_HTTP_FETCH);
  const std::uint64_t used = end_with(AB_END_OK).host_bytes;
  EXPECT_GE(used, 612U);
  EXPECT_LT(used, 700U);
  reset();
  answered(AB_OP_HTTP_FETCH);
  KeptCall second;
  EXPECT_NE(ask(second, AB_OP_HTTP_FETCH), 0) << "these headers no longer fit";
  EXPECT_EQ(metrics.count("alga_limit_hits_total{host_bytes}"), 1);
}

TEST_F(HostCallsTest, AFloodOfDenialsIsCountedAndRecordedWithAFewLines) {
  invocation.capabilities.remove(Capability::http_fetch);
  for (int i = 0; i < 100; ++i) {
    answered(AB_OP_HTTP_FETCH);
  }
  EXPECT_EQ(metrics.count("alga_denials_total{capability}"), 100);
  EXPECT_EQ(records.events().size(), 1U) << "what is repeated is counted";
  EXPECT_EQ(log->lines().size(), 20U);
  end_with(AB_END_OK);
  EXPECT_EQ(records.events().size(), 2U) << "and its number is told at the end";
}

TEST_F(HostCallsTest, OneCallMoreThanAllowedEndsTheGuest) {
  ASSERT_TRUE(options.limits.set_value(Limit::host_calls, 2));
  KeptCall third;
  answered(AB_OP_USER_GET);
  EXPECT_EQ(execution().on_log(AB_LOG_INFO, "a line counts too"), 0);
  EXPECT_NE(ask(third, AB_OP_USER_GET), 0);
  EXPECT_EQ(third.answers, 0);
  EXPECT_EQ(metrics.count("alga_limit_hits_total{host_calls}"), 1);
}

// ---- limits, as the outcome names them ---------------------------------------------------------

TEST_F(HostCallsTest, LimitsOfTheLogAreNamedOnceEach) {
  ASSERT_TRUE(options.limits.set_value(Limit::log_line, 64));
  ASSERT_TRUE(options.limits.set_value(Limit::log_lines, 3));
  ASSERT_TRUE(options.limits.set_value(Limit::stdio_bytes, 10));
  execution().on_log(AB_LOG_INFO, std::string(65, 'x'));
  execution().on_stdio(1, std::string(11, '\n'));
  for (int i = 0; i < 9; ++i) execution().on_log(AB_LOG_INFO, "line");
  end_with(AB_END_OK);
  EXPECT_EQ(limits_hit(), "limit.log_line limit.log_lines limit.stdio_bytes");
  EXPECT_EQ(metrics.count("alga_limit_hits_total{log_lines}"), 1);
}

TEST_F(HostCallsTest, TheBytesOfTheLogAreALimitOfTheirOwn) {
  ASSERT_TRUE(options.limits.set_value(Limit::log_bytes, 100));
  for (int i = 0; i < 9; ++i) execution().on_log(AB_LOG_INFO, std::string(40, 'x'));
  end_with(AB_END_OK);
  EXPECT_EQ(limits_hit(), "limit.log_bytes");
}

TEST_F(HostCallsTest, LimitsOfRequestsAreNamedThoughTheHandlerWentOn) {
  ASSERT_TRUE(options.limits.set_value(Limit::fetch_calls, 4));
  for (const char* code : {"egress.too_large", "egress.timeout", "egress.too_many_headers",
                           "egress.headers_too_large", "egress.timeout"}) {
    egress.answer = fail(Kind::unavailable, code, "why");
    answered(AB_OP_HTTP_FETCH);
  }
  EXPECT_EQ(end_with(AB_END_OK).end, domain::EndClass::ok);
  EXPECT_EQ(limits_hit(),
            "limit.header_count limit.header_bytes limit.fetch_calls limit.fetch_response "
            "limit.fetch_time");
}

TEST_F(HostCallsTest, WhatTheBridgeStopsIsNamedToo) {
  for (const auto& [limit, code] :
       {std::pair{"response_body", "limit.response_body"},
        std::pair{"header_count", "limit.header_count"},
        std::pair{"header_bytes", "limit.header_bytes"}, std::pair{"resource_handles", ""}}) {
    reset();
    EXPECT_EQ(end_with(AB_END_RESPONSE_LIMIT, limit).end, domain::EndClass::hostcall_limit);
    EXPECT_EQ(limits_hit(), code);
  }
}

TEST_F(HostCallsTest, CallsAndTheirBytesAreNamed) {
  ASSERT_TRUE(options.limits.set_value(Limit::host_bytes, 10));
  KeptCall large;
  EXPECT_NE(ask(large, AB_OP_CONFIG_GET, std::string(11, 'k')), 0);
  EXPECT_EQ(end_with(AB_END_HOST).end, domain::EndClass::hostcall_limit);
  EXPECT_EQ(limits_hit(), "limit.host_bytes");
  reset();
  ASSERT_TRUE(options.limits.set_value(Limit::host_calls, 1));
  ASSERT_TRUE(options.limits.set_value(Limit::host_bytes, 10'000));
  answered(AB_OP_USER_GET);
  KeptCall second;
  EXPECT_NE(ask(second, AB_OP_USER_GET), 0);
  EXPECT_EQ(end_with(AB_END_HOST).end, domain::EndClass::hostcall_limit);
  EXPECT_EQ(limits_hit(), "limit.host_calls");
}

TEST_F(HostCallsTest, WhoIsNotAdmittedIsToldByWhichLimit) {
  const std::vector<std::tuple<Job::Refusal, bool, std::string_view>> refusals{
      {Job::Refusal::full, false, "limit.executions"},
      {Job::Refusal::tenant_full, true, "limit.executions_per_tenant"},
      {Job::Refusal::install_full, true, "limit.executions_per_install"},
      {Job::Refusal::waited, false, "limit.queue_wait"},
      {Job::Refusal::tenant_waited, true, "limit.queue_wait"},
      {Job::Refusal::install_waited, true, "limit.queue_wait"},
      {Job::Refusal::stopping, false, ""}};
  for (const auto& [why, tenant_busy, code] : refusals) {
    reset();
    execution().refuse(why);
    EXPECT_EQ(outcome.value().end, domain::EndClass::overload);
    EXPECT_EQ(outcome->tenant_busy, tenant_busy);
    EXPECT_EQ(outcome->stopping, why == Job::Refusal::stopping);
    EXPECT_EQ(outcome->retry_after_s, 1U);
    EXPECT_EQ(limits_hit(), code);
  }
  EXPECT_EQ(metrics.count("alga_limit_hits_total{executions}"), 1);
  EXPECT_EQ(metrics.count("alga_limit_hits_total{executions_per_tenant}"), 1);
  EXPECT_EQ(metrics.count("alga_limit_hits_total{executions_per_install}"), 1);
  EXPECT_EQ(metrics.count("alga_limit_hits_total{queue_wait}"), 3);
}

// ---- a handler that fails for want of an egress rule -------------------------------------------

class DeniedAddressTest : public HostCallsTest {
 protected:
  DeniedAddressTest() { egress.answer = fail(Kind::denied, "egress.denied", "no rule"); }
};

TEST_F(DeniedAddressTest, GivingUpOnADeniedAddressIsAnEndOfItsOwn) {
  answered(AB_OP_HTTP_FETCH);
  execution().on_log(AB_LOG_ERROR, "saying so first changes nothing");
  execution().on_stdio(2, "Error: not-allowed\n");
  EXPECT_EQ(end_with(AB_END_EXIT).end, domain::EndClass::egress_denied);
}

TEST_F(DeniedAddressTest, GivingUpWithoutAnyPolicyIsTheSameEnd) {
  invocation.egress = nullptr;
  answered(AB_OP_HTTP_FETCH);
  EXPECT_EQ(end_with(AB_END_EXIT).end, domain::EndClass::egress_denied);
}

TEST_F(DeniedAddressTest, AHandlerThatWentOnAfterADenialFailsForItsOwnReasons) {
  answered(AB_OP_HTTP_FETCH);
  answered(AB_OP_CONFIG_GET, "colour");
  EXPECT_EQ(end_with(AB_END_EXIT).end, domain::EndClass::guest_error);
}

TEST_F(DeniedAddressTest, AHandlerThatAnswersInSpiteOfADenialIsFine) {
  answered(AB_OP_HTTP_FETCH);
  EXPECT_EQ(end_with(AB_END_OK).end, domain::EndClass::ok);
}

TEST_F(DeniedAddressTest, ALimitIsTheEndThoughAnAddressWasDeniedBefore) {
  answered(AB_OP_HTTP_FETCH);
  EXPECT_EQ(end_with(AB_END_MEMORY_LIMIT).end, domain::EndClass::memory_limit);
}

// ---- what is written down of calls that are allowed --------------------------------------------

class SamplingTest : public HostCallsTest {
 protected:
  /// Lines after one call of each kind, `rounds` times.
  std::vector<std::string> after_calls(double fraction, int rounds) {
    options.capability_log_sampling = fraction;
    for (int i = 0; i < rounds; ++i) {
      for (const ab_op op :
           {AB_OP_CONTEXT_GET, AB_OP_CONFIG_GET, AB_OP_CONFIG_ENTRIES, AB_OP_SECRET_GET,
            AB_OP_SECRET_KEYS, AB_OP_HTTP_FETCH, AB_OP_STORAGE_GET, AB_OP_STORAGE_PUT,
            AB_OP_STORAGE_DELETE, AB_OP_STORAGE_LIST, AB_OP_UI_CALL, AB_OP_USER_GET}) {
        answered(op, op == AB_OP_UI_CALL ? "/api/x?token=hunter2" : "api_key");
      }
    }
    return log->lines();
  }
};

TEST_F(SamplingTest, NoneOfThemAtZero) { EXPECT_THAT(after_calls(0, 4), IsEmpty()); }

TEST_F(SamplingTest, EachOfThemAtOneWithItsTargetAndNoIdentifierInFull) {
  const auto line = [](const std::string& operation, const std::string& target) {
    return "capability used operation=" + operation + " target=" + target +
           " tenant=acme extension=ext request_id=request";
  };
  EXPECT_THAT(
      after_calls(1, 1),
      ElementsAre(line("context.get", ""), line("config.get", "ap…ey"), line("config.entries", ""),
                  line("secrets.get", "ap…ey"), line("secrets.list-keys", ""),
                  line("http.fetch", "https://…@api.test/path"), line("storage.get", "notes/cu…42"),
                  line("storage.put", "notes/cu…42"), line("storage.delete", "notes/cu…42"),
                  line("storage.list", "notes/cu…42"), line("ui-proxy.call-route", "/api/x"),
                  line("user.get", "")));
  for (const std::string& written : log->lines()) {
    for (const char* never : {"hunter2", "api_key", "customer-42", "pw@", "green"}) {
      EXPECT_THAT(written, Not(HasSubstr(never)));
    }
  }
}

TEST_F(SamplingTest, AsManyAsTheFractionSays) {
  // Of eight draws in turn, two are below a quarter: twelve calls, eight times over.
  EXPECT_EQ(after_calls(0.25, 8).size(), 24U);
}

TEST_F(SamplingTest, DenialsWhateverTheFraction) {
  options.capability_log_sampling = 0;
  invocation.capabilities.remove(Capability::secrets_get);
  answered(AB_OP_SECRET_GET, "api_key");
  EXPECT_THAT(log->lines(), ElementsAre(HasSubstr("capability denied")));
}

// What is called in paths that a guest asks for, in namespaces and routes: identifiers are nobody's
// business who reads the server's log.
TEST_F(SamplingTest, NoIdentifierOfPathsNamespacesAndRoutes) {
  options.capability_log_sampling = 1;
  asked.url = to_ab(
      "https://api.test/v2/customers/cus_NffrFeUfNV2Hib/orders/4711/"
      "018f5c7e-0000-7000-8000-00000000abcd/ann%40example.com?key=hunter2#42");
  answered(AB_OP_HTTP_FETCH);
  stored.ns = to_ab("carts-of-4711");
  answered(AB_OP_STORAGE_GET);
  answered(AB_OP_UI_CALL, "/api/users/ann@example.com/9f86d081884c7d65?token=hunter2");
  std::vector<std::string> targets;
  for (const std::string& line : log->lines()) {
    const std::size_t at = line.find("target=") + 7;
    targets.push_back(line.substr(at, line.find(" tenant=") - at));
  }
  EXPECT_THAT(targets, ElementsAre("https://api.test/v2/customers/:id/orders/:id/:id/:id",
                                   ":id/cu…42", "/api/users/:id/:id"));
}

TEST_F(DeniedAddressTest, TheRecordOfADenialHoldsNoIdentifierOfThePath) {
  asked.url = to_ab("https://api.test/users/4711/cards?number=1");
  answered(AB_OP_HTTP_FETCH);
  EXPECT_THAT(records.events(), ElementsAre("egress_denied https://api.test/users/:id/cards"));
  EXPECT_THAT(log->lines(), ElementsAre(HasSubstr("capability used"), HasSubstr("egress denied")));
  EXPECT_EQ(log->count({"target=https://api.test/users/:id/cards "}), 2U);
}

TEST(Redaction, KeepsTwoCharactersAtEachEnd) {
  EXPECT_EQ(redact(""), "<empty>");
  EXPECT_EQ(redact("abcd"), "***");
  EXPECT_EQ(redact("abcde"), "ab…de");
  EXPECT_EQ(redact("schlüssel"), "sc…el");
}

TEST(Redaction, TellsIdentifiersInPathsFromTheNamesOfResources) {
  for (const char* word :
       {"", "customers", "v1", "v2.1", "oauth2", "OAuth2", "api", "sign-in", "robots.txt",
        "getCustomerAccountDetails", "x_y.z", "s3", "deadbeef", "documents:search", "line_items"}) {
    EXPECT_EQ(redact_path(word), word);
  }
  for (const char* identifier : {"7",
                                 "4711",
                                 "customer-42",
                                 "42.pdf",
                                 "2024-01-31",
                                 "10.0.0.1",
                                 "018f5c7e-0000-7000-8000-00000000abcd",
                                 "018F5C7E000070008000",
                                 "9f86d081",
                                 "deadbee1",
                                 "ann@example.com",
                                 "ann%40example.com",
                                 "cus_NffrFeUfNV2Hib",
                                 "cus_4QE",
                                 "dGVzdA==",
                                 "eyJhbGciOiJIUzI1NiJ9.e30.Zm9v",
                                 "AbCdEfGhIjKlMnOpQrStUvWxYzAbCdEfG",
                                 "J%C3%BCrgen",
                                 "Jürgen",
                                 "a b",
                                 "id=x",
                                 "\x1b[2J"}) {
    EXPECT_EQ(redact_path(identifier), ":id") << identifier;
    EXPECT_EQ(redact_path("/a/" + std::string(identifier) + "/b"), "/a/:id/b") << identifier;
  }
}

TEST(Redaction, IsBoundedAndCutsNoIdentifierIntoAWord) {
  const std::string digits(5000, '7');
  EXPECT_EQ(redact_path("/a/" + digits), "/a/…");
  EXPECT_EQ(redact_path(digits), "…");
  std::string deep;
  while (deep.size() < 1000) deep += "/word";
  const std::string shown = redact_path(deep);
  EXPECT_TRUE(shown.ends_with("/…")) << shown;
  EXPECT_LE(shown.size(), 200 + 1 + std::string("…").size());
  EXPECT_EQ(redact_url("https://" + std::string(5000, 'h') + "/x").size(), 8U + 200 + 2);
}

TEST(Redaction, KeepsOfAUrlItsSchemeHostAndPath) {
  EXPECT_EQ(redact_url("https://u:p@api.test:8443/a/7?q#f"), "https://…@api.test:8443/a/:id");
  EXPECT_EQ(redact_url("https://api.test"), "https://api.test");
  EXPECT_EQ(redact_url("https://api.test?token=x"), "https://api.test");
  EXPECT_EQ(redact_url("https://a\x1b[2J.test/"), "https://a\\x1b[2J.test/");
  EXPECT_EQ(redact_url("mailto:ann@example.com"), ":id");
  EXPECT_EQ(redact_url(""), "");
}

}  // namespace
}  // namespace alga::engine
