// What the runner does not run: in which order it looks, what it says, and whose fault it calls it.

#include "runner/refusal.h"

#include <functional>

#include "domain/grant.h"
#include "runner/testing.h"

namespace alga::runner {
namespace {

using domain::EndClass;
using domain::ExecuteRequest;
using domain::ExecuteResponse;
using ::testing::HasSubstr;
using testing::RunnerHttpTest;
using testing::RunnerTest;

constexpr Kind kinds[] = {Kind::invalid,   Kind::unauthenticated, Kind::denied,
                          Kind::not_found, Kind::conflict,        Kind::gone,
                          Kind::too_large, Kind::unprocessable,   Kind::rate_limited,
                          Kind::internal,  Kind::bad_gateway,     Kind::unavailable,
                          Kind::timeout};

TEST(EndOfRefusal, IsTheCallersFaultOnlyForWhatACallerCanHaveSaid) {
  for (const Kind kind : kinds) {
    const bool ours = kind == Kind::internal || kind == Kind::bad_gateway ||
                      kind == Kind::unavailable || kind == Kind::timeout;
    const EndClass wanted = ours                         ? EndClass::platform
                            : kind == Kind::rate_limited ? EndClass::overload
                                                         : EndClass::refused;
    EXPECT_EQ(end_of_refusal({kind, "secret.x", {}}, Vouched::no), wanted) << http_status(kind);
  }
}

TEST(EndOfRefusal, IsOursForWhatTheControlPlaneVouchedFor) {
  for (const Kind kind : kinds) {
    if (kind == Kind::rate_limited) continue;
    EXPECT_EQ(end_of_refusal({kind, "secret.x", {}}, Vouched::yes), EndClass::platform)
        << http_status(kind);
  }
}

TEST(EndOfFetch, TellsTheAuthorTheCallerAndTheStoreApart) {
  const auto end = [](Kind kind, std::string_view code, Vouched vouched = Vouched::no) {
    return end_of_fetch({kind, code, {}}, vouched);
  };
  EXPECT_EQ(end(Kind::not_found, "blob.not_found"), EndClass::refused);
  EXPECT_EQ(end(Kind::not_found, "blob.not_found", Vouched::yes), EndClass::platform);
  EXPECT_EQ(end(Kind::invalid, "archive.path_traversal"), EndClass::bad_component);
  EXPECT_EQ(end(Kind::too_large, "archive.too_large"), EndClass::bad_component);
  EXPECT_EQ(end(Kind::too_large, "blob.too_large", Vouched::yes), EndClass::bad_component);
  EXPECT_EQ(end(Kind::denied, "blob.denied"), EndClass::platform) << "the store's own refusal";
  EXPECT_EQ(end(Kind::bad_gateway, "blob.hash_mismatch"), EndClass::platform);
  EXPECT_EQ(end(Kind::unavailable, "blob.unavailable"), EndClass::platform);
  EXPECT_EQ(end(Kind::unavailable, "blob.cache_io"), EndClass::platform);
}

/// One refusal, seen from outside, on record, in the metrics and in the log.
class RefusalTest : public RunnerTest {
 protected:
  void expect_end(const ExecuteResponse& answer, const std::string& code, const std::string& end) {
    EXPECT_EQ(answer.code, code);
    EXPECT_EQ(answer.end_class, end) << code;
    EXPECT_EQ(metrics_.count("alga_runner_executions_total{" + end + "}"), ++ends_[end]) << code;
    const auto lines = log_->lines();
    ASSERT_FALSE(lines.empty()) << code;
    EXPECT_EQ(lines.back().end_class, end) << code;
    EXPECT_EQ(lines.back().code, code);
    EXPECT_EQ(lines.back().level, end == "platform" ? LogLevel::warn : LogLevel::info) << code;
    EXPECT_TRUE(engine_.invocations.empty()) << code;
  }
  /// The same, of somebody who is believed to be who he says: it is on record.
  void expect_recorded(const ExecuteResponse& answer, const std::string& code,
                       const std::string& end) {
    expect_end(answer, code, end);
    ASSERT_FALSE(records_.executions.empty()) << code;
    EXPECT_EQ(records_.executions.back().end_class, end) << code;
    EXPECT_EQ(records_.executions.back().code, code);
  }
  ExecuteRequest changed(const std::function<void(ExecuteRequest&)>& change) {
    ExecuteRequest it = request();
    change(it);
    return it;
  }
  static void want_secrets(ExecuteRequest& it) {
    it.providers = {"cap:secrets.get"};
    it.envelope = domain::SecretEnvelope{.ciphertext_b64 = "e30="};
  }

  std::map<std::string, double> ends_;
};

TEST_F(RefusalTest, OfARequestThatIsTooLargeOrNoneIsTheCallers) {
  auto& runner = role(drop_in());
  const auto tell = [&](const std::function<void(ExecuteRequest&)>& change) {
    return execute(runner, changed(change));
  };
  expect_recorded(tell([](auto& it) { it.http.body = std::string((10U << 20U) + 1, 'x'); }),
                  "limit.request_body", "refused");
  expect_recorded(tell([](auto& it) { it.http.headers.resize(101, {"x", "1"}); }),
                  "limit.header_count", "refused");
  expect_recorded(tell([](auto& it) { it.http.headers = {{"x", std::string(70'000, 'x')}}; }),
                  "limit.header_bytes", "refused");
  expect_recorded(tell([](auto& it) { it.http.headers = {{"x y", "1"}}; }),
                  "runner.invalid_request", "refused");
  expect_recorded(tell([](auto& it) { it.http.method = "G T"; }), "runner.invalid_request",
                  "refused");
  expect_recorded(tell([](auto& it) { it.malformed_body = true; }), "runner.invalid_body",
                  "refused");
  expect_recorded(tell([](auto& it) { it.providers = {"cap:fly"}; }), "capability.unknown",
                  "refused");
}

TEST_F(RefusalTest, OfACallerWhoIsNotBelievedIsTheCallersAndNobodysExecution) {
  auto& runner = role();
  expect_end(execute(runner, request()), "runner.grant_required", "refused");
  auto foreign = grant({});
  foreign.tenant = *TenantId::parse("t2");
  expect_end(execute(runner, granted(foreign)), "grant.tenant_mismatch", "refused");
  auto old = grant({});
  old.issued -= std::chrono::hours{1};
  old.expires -= std::chrono::hours{1};
  expect_end(execute(runner, granted(old)), "grant.expired", "refused");
  auto nonsense = request();
  nonsense.grant = "nonsense";
  expect_end(execute(runner, nonsense), "grant.malformed", "refused");
  EXPECT_TRUE(records_.executions.empty());
}

TEST_F(RefusalTest, OfABundleIsWhoseFaultItIs) {
  auto& runner = role(drop_in());
  const auto with = [&](const ContentHash& hash) {
    return execute(runner, changed([&](auto& it) { it.content_hash = hash; }));
  };
  const ContentHash nothing = *ContentHash::parse(std::string(64, 'b'));
  expect_recorded(with(nothing), "blob.not_found", "refused");
  const ContentHash other = *ContentHash::parse(std::string(64, 'c'));
  store_.put(blob::bundle_key(tenant_, extension_, other), archive_);
  expect_recorded(with(other), "blob.hash_mismatch", "platform");
  expect_recorded(with(place(archive::testing::TarBuilder{}.file("../x", "y").zst())),
                  "archive.path_traversal", "bad_component");
  store_.fail_with(Error{Kind::unavailable, "blob.unavailable", "down"});
  expect_recorded(with(nothing), "blob.unavailable", "platform");
  EXPECT_EQ(log_->lines().back().reason, "down");
}

TEST_F(RefusalTest, OfABundleWithoutServerCodeIsItsAuthors) {
  const ContentHash pages =
      place(archive::testing::TarBuilder{}.file("ui/index.html", "<p>").zst());
  const auto answer = execute(role(drop_in()), changed([&](auto& it) { it.content_hash = pages; }));
  expect_recorded(answer, "runner.no_component", "bad_component");
  EXPECT_EQ(answer.status, 502);
  EXPECT_EQ(answer.error, "bundle_fetch_failed: runner.no_component");
  EXPECT_TRUE(engine_.loaded.empty());
}

TEST_F(RefusalTest, OfWhatTheControlPlaneVouchedForIsOurs) {
  auto lost = grant({});
  lost.content_hash = *ContentHash::parse(std::string(64, 'b'));
  auto with = request();
  with.content_hash = lost.content_hash;
  with.grant = *domain::sign_grant(lost, key_);
  expect_recorded(execute(role(), with), "blob.not_found", "platform");

  auto secret = grant({domain::Capability::secrets_get});
  with = request();
  want_secrets(with);
  secret.envelope_sha256 = domain::envelope_pin(*with.envelope);
  with.grant = *domain::sign_grant(secret, key_);
  opener_.error = Error{Kind::denied, "secret.altered", "it does not open"};
  expect_recorded(execute(role(), with), "secret.altered", "platform");
}

TEST_F(RefusalTest, OfAnEnvelopeIsTheCallersExceptWhereOursIsMissing) {
  auto& runner = role(drop_in());
  for (const char* code : {"secret.expired", "secret.altered", "secret.unknown_key"}) {
    opener_.error = Error{Kind::denied, code, "no"};
    expect_recorded(execute(runner, changed(want_secrets)), code, "refused");
  }
  opener_.error = Error{Kind::invalid, "secret.malformed", "no"};
  expect_recorded(execute(runner, changed(want_secrets)), "secret.malformed", "refused");
  opener_.error = Error{Kind::unavailable, "vault.unavailable", "down"};
  expect_recorded(execute(runner, changed(want_secrets)), "vault.unavailable", "platform");
  opener_.error = Error{Kind::internal, "keys.unwrap_failed", "broken"};
  expect_recorded(execute(runner, changed(want_secrets)), "keys.unwrap_failed", "platform");
  opener_.error.reset();
  auto nobodys = changed(want_secrets);
  nobodys.install.reset();
  expect_recorded(execute(runner, nobodys), "runner.no_secrets", "refused");
}

TEST_F(RefusalTest, OfWhatWeCannotDoStaysOurs) {
  auto& runner = role(drop_in());
  engine_.load_error = Error{Kind::internal, "engine.artefact_incompatible", "of another version"};
  expect_recorded(execute(runner, request()), "engine.artefact_incompatible", "platform");
  EXPECT_EQ(log_->lines().back().reason, "of another version");
}

// ---- the order in which faults are named
// ---------------------------------------------------------

using OrderTest = RefusalTest;

TEST_F(OrderTest, ABodyThatIsNoneIsWhatIsSaidLast) {
  auto& runner = role(drop_in());
  auto bad = changed(want_secrets);
  bad.malformed_body = true;
  bad.providers.emplace_back("nonsense");
  bad.content_hash = *ContentHash::parse(std::string(64, 'b'));
  opener_.error = Error{Kind::denied, "secret.expired", "old"};
  engine_.load_error = Error{Kind::unavailable, "engine.unavailable", "no process"};
  EXPECT_EQ(execute(runner, bad).error, "bundle_fetch_failed: blob.not_found");
  bad.content_hash = hash_;
  EXPECT_EQ(execute(runner, bad).error, "unknown_capabilities: nonsense");
  bad.providers.pop_back();
  EXPECT_EQ(execute(runner, bad).error, "secret_decrypt_failed");
  opener_.error.reset();
  EXPECT_EQ(execute(runner, bad).error, "engine_init_failed: engine.unavailable");
  engine_.load_error.reset();
  const auto last = execute(runner, bad);
  EXPECT_EQ(last.error, "execute_failed: runner.invalid_body");
  EXPECT_EQ(last.status, 500);
  EXPECT_TRUE(engine_.invocations.empty());
  bad.malformed_body = false;
  EXPECT_EQ(execute(runner, bad).status, 201);
}

class RefusalHttpTest : public RunnerHttpTest {
 protected:
  std::string with(std::string text, const std::string& from, const std::string& to) {
    return text.replace(text.find(from), from.size(), to);
  }
  std::string bad_body() { return with(body(), R"("body_b64":"")", R"("body_b64":"%%%")"); }
  /// What is said before anything is anybody's execution counts, too.
  void expect_refused(const std::string& answer, const std::string& code) {
    EXPECT_THAT(answer, HasSubstr("\"code\":\"" + code + "\""));
    EXPECT_THAT(answer, HasSubstr(R"("end_class":"refused")")) << code;
    EXPECT_EQ(metrics_.count("alga_runner_executions_total{refused}"), ++refused_) << code;
    EXPECT_EQ(metrics_.count("alga_runner_executions_total{platform}"), 0) << code;
    EXPECT_TRUE(engine_.invocations.empty()) << code;
  }
  double refused_ = 0;
};

TEST_F(RefusalHttpTest, NamesWhatComesBeforeABadBodyFirst) {
  serve(drop_in());
  expect_refused(post(known, bad_body()), "runner.missing_headers");
  expect_refused(post(known + "x-alga-tenant: t2\r\nx-alga-extension: e1\r\n", bad_body()),
                 "runner.identity_mismatch");
  expect_refused(post(routed + "x-ext-secrets-envelope: {}\r\n", bad_body()),
                 "secret.header_mismatch");
  expect_refused(post(routed + "x-idempotency-key: " + std::string(256, 'k') + "\r\n", bad_body()),
                 "idempotency.bad_key");
  const std::string unknown = with(bad_body(), R"("unknown":1)", R"("providers":["cap:fly"])");
  expect_refused(post(routed, unknown), "capability.unknown");
  expect_refused(post(routed, bad_body()), "runner.invalid_body");
  EXPECT_THAT(post("", bad_body()), HasSubstr(" 401 "));
  EXPECT_THAT(post(routed, with(bad_body(), R"("method":"POST")", R"("method":1)")),
              HasSubstr(" 400 "))
      << "a shape that is none is no execution";
}

TEST_F(RefusalHttpTest, KeepsNoKeyForABodyThatIsNone) {
  serve(drop_in());
  const std::string keyed = routed + "x-idempotency-key: k1\r\n";
  expect_refused(post(keyed, bad_body()), "runner.invalid_body");
  EXPECT_THAT(post(keyed, body()), HasSubstr(R"("status":201)"));
  EXPECT_THAT(post(keyed, bad_body()), HasSubstr("idempotency.mismatch"));
}

TEST_F(RefusalHttpTest, RepeatsAnAnswerWhoseBundleIsGone) {
  serve(drop_in());
  const std::string keyed = routed + "x-idempotency-key: k1\r\n";
  ASSERT_THAT(post(keyed, body()), HasSubstr(R"("status":201)"));
  std::filesystem::remove_all(root_ / hash_.hex());
  ASSERT_TRUE(store_.remove(blob::bundle_key(tenant_, extension_, hash_)));
  ASSERT_THAT(post(routed, body()), HasSubstr("blob.not_found"));
  EXPECT_THAT(post(keyed, body()), HasSubstr(R"("status":201)"));
  const std::string unknown = with(body(), R"("unknown":1)", R"("providers":["cap:fly"])");
  EXPECT_THAT(post(keyed, unknown), HasSubstr(R"("status":201)"));
  EXPECT_EQ(engine_.invocations.size(), 1U);
}

TEST_F(RefusalHttpTest, OfAnIdempotencyKeyIsTheCallersUnlessWeHaveNoRoom) {
  Options options = drop_in();
  options.idempotency.max_entries = 1;
  httpd::Router router;
  role(std::move(options)).add_routes(router);
  const auto ask = [&](const std::string& key, const std::string& path) {
    httpd::Request request;
    request.method = "POST";
    request.path = "/v1/execute";
    request.headers = {{"x-runner-service-token", "token"},
                       {"x-alga-tenant", "t1"},
                       {"x-alga-extension", "e1"},
                       {"x-idempotency-key", key},
                       {"content-type", "application/json"}};
    request.body = with(body(), R"("path":"/p")", "\"path\":\"" + path + "\"");
    request.body_size = request.body.size();
    return async::block_on((*router.match("POST", "/v1/execute").handler)(std::move(request)));
  };
  httpd::Response same, another, other_key;
  engine_.during = [&] {
    if (engine_.invocations.size() > 1) return;
    same = ask("k1", "/p");
    another = ask("k1", "/q");
    other_key = ask("k2", "/p");
  };
  ASSERT_EQ(ask("k1", "/p").status, 200);
  EXPECT_EQ(same.status, 409);
  EXPECT_THAT(same.body, HasSubstr(R"("end_class":"refused")"));
  EXPECT_EQ(another.status, 422);
  EXPECT_THAT(another.body, HasSubstr(R"("end_class":"refused")"));
  EXPECT_EQ(other_key.status, 503);
  EXPECT_THAT(other_key.body, HasSubstr(R"("code":"idempotency.unavailable")"));
  EXPECT_THAT(other_key.body, HasSubstr(R"("end_class":"overload")"));
  EXPECT_EQ(engine_.invocations.size(), 1U);
}

}  // namespace
}  // namespace alga::runner
