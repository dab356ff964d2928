#include <fmt/format.h>

#include <future>
#include <latch>
#include <thread>

#include "base/testing_metrics.h"
#include "control_plane/operations.h"
#include "control_plane/testing.h"
#include "telemetry/record_json.h"

namespace alga::control_plane {
namespace {

using boost::json::object;
using testing::HeaderMap;
using testing::OnPlatform;
using testing::Platform;
using testing::Reply;

class Records : public OnPlatform {
 protected:
  void SetUp() override {
    OnEveryDatabase::SetUp();
    if (!database_) return;
    platform_ = std::make_unique<Platform>(std::move(database_), nullptr, nullptr,
                                           [this](Dependencies& deps) {
                                             deps.metrics = &metrics_;
                                             deps.log = Logger(log_, "control_plane");
                                           });
    publish_hello();
    admin_ = p().admin_of("t1");
    install_ = install_hello(admin_);
    extension_ =
        p().call("GET", "/api/v1/installs/" + install_, admin_).string("/install/extension_id");
  }
  domain::ExecutionIdentity who(const std::string& request) {
    return {.tenant = "t1",
            .extension = extension_,
            .install = install_,
            .version = "v",
            .request_id = request,
            .trace_id = ""};
  }
  Status start(const std::string& id, const std::string& request) {
    return async::block_on(p().plane().executions().start(
        {.id = id, .who = who(request), .at = p().clock().wall(), .secrets_version = "s1"}));
  }
  domain::ExecutionRecord record(const std::string& id, const std::string& request) {
    domain::ExecutionRecord done{.id = id, .who = who(request)};
    done.started = done.finished = p().clock().wall();
    done.end_class = "ok";
    done.status = 200;
    done.cpu_us = 1'000;
    return done;
  }
  /// Waits until a started row that came later has been written: the queue keeps its order.
  void flush() {
    static int n = 0;
    ASSERT_TRUE(start("flush-" + std::to_string(++n), "flush"));
  }
  boost::json::value execution(const std::string& request) {
    Reply reply = p().call("GET", "/api/v1/executions", admin_);
    for (const auto& row : reply.at("/executions").as_array()) {
      if (row.at("request_id") == boost::json::value(request)) return row;
    }
    return nullptr;
  }
  /// What a runner of another process delivers of somebody.
  std::string delivery(const std::string& id, const domain::ExecutionIdentity& of) {
    domain::ExecutionRecord ran = record("run-" + id, of.request_id);
    ran.who = of;
    return telemetry::encode_record({"log-" + id, domain::GuestLogLine{.who = of,
                                                                       .at = p().clock().wall(),
                                                                       .stream = "log",
                                                                       .message = "line " + id}}) +
           "\n" + telemetry::encode_record({"run-" + id, ran}) + "\n" +
           telemetry::encode_record(
               {"event-" + id,
                domain::CapabilityEvent{
                    .who = of, .at = p().clock().wall(), .kind = "denied", .target = id}}) +
           "\n";
  }
  std::uint16_t deliver(const std::string& lines) {
    return p()
        .send("POST", "/internal/records", "", lines, {{"x-runner-auth", "token-of-storage"}})
        .status;
  }
  void TearDown() override { platform_.reset(); }
  alga::testing::CountingMetrics metrics_;
  std::shared_ptr<testing::KeptCodes> log_ = std::make_shared<testing::KeptCodes>();
  std::string admin_, install_, extension_;
};

TEST_P(Records, WritesTheStartedRowBeforeItAnswers) {
  ASSERT_TRUE(start("id-1", "r1"));
  auto row = execution("r1");
  EXPECT_EQ(row.at("status"), "started");
  EXPECT_EQ(row.at("secrets_version"), "s1");
  p().plane().executions().finish({.id = "id-1",
                                   .tenant = "t1",
                                   .at = p().clock().wall(),
                                   .status = "timeout",
                                   .error = "timeout",
                                   .http_status = 504,
                                   .duration_us = 7});
  p().plane().records().execution(record("run-1", "r1"));
  flush();
  row = execution("r1");
  EXPECT_EQ(row.at("status"), "timeout");
  EXPECT_EQ(row.at("http_status"), 504);
  EXPECT_EQ(row.at("end_class"), "ok");
  EXPECT_EQ(row.at("metrics").at("cpu_us"), 1000);
}

TEST_P(Records, CountsARecordOnceHoweverOftenItComes) {
  for (int i = 0; i < 3; ++i) p().plane().records().execution(record("run-1", "direct"));
  ASSERT_TRUE(start("id-2", "r2"));
  for (int i = 0; i < 3; ++i) p().plane().records().execution(record("run-2", "r2"));
  flush();
  Reply usage = p().call("GET", "/api/v1/installs/" + install_ + "/usage", admin_);
  EXPECT_EQ(usage.at("/usage/invocations"), 2);
  EXPECT_EQ(usage.at("/usage/cpu_us"), 2000);
}

TEST_P(Records, ShowsGuestLogsInOrderAndFiltered) {
  for (int i = 0; i < 5; ++i) {
    p().plane().records().guest_log({.who = who(i < 3 ? "a" : "b"),
                                     .at = p().clock().wall(),
                                     .level = i == 4 ? LogLevel::error : LogLevel::info,
                                     .stream = "log",
                                     .message = "line " + std::to_string(i)});
  }
  p().plane().records().guest_log(
      {.who = who("c"), .at = p().clock().wall(), .stream = "log", .message = "bad \xff\0 bytes"});
  flush();
  auto lines = [&](const std::string& query) {
    std::string all;
    Reply reply = p().call("GET", "/api/logs" + query, admin_);
    for (const auto& line : reply.at("/lines").as_array()) {
      all += std::string(line.at("message").as_string()) + ";";
    }
    return all;
  };
  EXPECT_EQ(lines("?request=a"), "line 0;line 1;line 2;");
  EXPECT_EQ(lines("?level=error"), "line 4;");
  EXPECT_EQ(lines("?install=acme.hello&request=b"), "line 3;line 4;");
  EXPECT_TRUE(lines("?limit=2").starts_with("line 4;bad "));
  EXPECT_EQ(p().call_malformed("GET", "/api/logs?limit=0", admin_).status, 400);
  EXPECT_EQ(p().call_malformed("GET", "/api/logs?level=loud", admin_).status, 400);
}

TEST_P(Records, FollowsLogsAsEvents) {
  p().plane().records().guest_log(
      {.who = who("a"), .at = p().clock().wall(), .stream = "log", .message = "first"});
  flush();
  Reply reply = p().call("GET", "/api/logs?follow=1", admin_);
  EXPECT_EQ(reply.response.headers.front().value, "text/event-stream; charset=utf-8");
  auto next = [&] { return async::block_on(reply.response.stream()).value(); };
  EXPECT_TRUE(next().contains("first"));
  p().plane().records().guest_log(
      {.who = who("a"), .at = p().clock().wall(), .stream = "log", .message = "second"});
  std::string event = next();
  EXPECT_TRUE(event.starts_with("id: ") && event.contains("\ndata: {") &&
              event.contains("second") && event.ends_with("\n\n"));
}

TEST_P(Records, EndsAStreamSoonAfterItsKeyIsRevoked) {
  Reply made = p().call("POST", "/api/v1/api-keys", admin_,
                        object{{"label", "reader"}, {"role", "tenant_admin"}, {"tenant", "t1"}});
  ASSERT_EQ(made.status, 201) << made.text;
  Reply reply = p().call("GET", "/api/logs?follow=1", made.string("/key"));
  auto next = [&] { return async::block_on(reply.response.stream()).value(); };
  EXPECT_EQ(next(), ": waiting\n\n");
  const std::string id = made.string("/id");
  EXPECT_EQ(p().call("DELETE", "/api/v1/api-keys/" + id, admin_).status, 204) << made.text;
  p().plane().records().guest_log(
      {.who = who("a"), .at = p().clock().wall(), .stream = "log", .message = "early"});
  std::string event = next();
  if (event.contains("early")) event = next();  // written before the question was due
  EXPECT_EQ(event, "event: end\ndata: {\"code\":\"auth.invalid_token\"}\n\n");
  p().plane().records().guest_log(
      {.who = who("a"), .at = p().clock().wall(), .stream = "log", .message = "late"});
  flush();
  EXPECT_EQ(next(), "") << "nothing comes behind the last event";
}

TEST_P(Records, FollowsLinesThatWereCommittedOutOfOrder) {
  auto add = [&](std::uint64_t time, const std::string& message) {
    auto done = p().database().write([&](sql::Executor& sql) {
      return sql.execute(
          "INSERT INTO extension_guest_log (tenant, id, install_id, extension_id, version_id, "
          "request_id, at, level, stream, message, truncated) VALUES ('t1', $1, $2, 'e', 'v', 'r', "
          "0, 1, 'log', $3, 0)",
          {fmt::format("{:016x}-host", time << 16U), install_, message});
    });
    ASSERT_TRUE(done) << done.error().message;
  };
  constexpr std::uint64_t kNow = 1'800'000'000'000;  // milliseconds
  add(kNow, "first");
  Reply reply = p().call("GET", "/api/logs?follow=1", admin_);
  auto next = [&] { return async::block_on(reply.response.stream()).value(); };
  EXPECT_TRUE(next().contains("first"));
  add(kNow + 50, "second");
  EXPECT_TRUE(next().contains("second"));
  // Another writer made its id earlier and committed later.
  add(kNow + 20, "late");
  std::string event = next();
  EXPECT_TRUE(event.contains("late")) << event;
  EXPECT_FALSE(event.contains("second")) << "no line twice";
}

TEST_P(Records, WhatOneTenantsGuestsWriteKeepsNobodyFromItsStart) {
  const std::string neighbour = p().admin_of("t2");
  std::latch held(1), flooded(1);
  const auto line = [&](const std::string& tenant, const std::string& message) {
    domain::ExecutionIdentity whose = who("flood");
    whose.tenant = tenant;
    p().plane().records().guest_log(
        {.who = whose, .at = p().clock().wall(), .stream = "log", .message = message});
  };
  // The database is busy with something else meanwhile.
  std::thread holder([&] {
    const auto done = p().database().write([&](sql::Executor& sql) -> Status {
      const bool postgres = p().database().dialect() == sql::Dialect::postgres;
      if (postgres) TRY_VOID(sql.execute("LOCK TABLE extension_guest_log"));
      held.count_down();
      flooded.wait();
      return {};
    });
    EXPECT_TRUE(done) << done.error().message;
  });
  held.wait();
  for (int i = 0; i < 25'000; ++i) line("t1", "flood");
  line("t2", "of the neighbour");
  p().plane().records().capability(
      {.who = who("flood"), .at = p().clock().wall(), .kind = "secret_read", .target = "api_key"});
  auto started = std::async(std::launch::async, [&] { return start("id-3", "r3"); });
  std::this_thread::sleep_for(std::chrono::milliseconds{50});
  flooded.count_down();
  holder.join();
  const Status answer = started.get();
  EXPECT_TRUE(answer) << answer.error().code;
  flush();
  const auto count = [&](const std::string& tenant) {
    auto row = p().database().read([&](sql::Executor& sql) {
      return sql.find("SELECT count(*) FROM extension_guest_log WHERE tenant = $1", {tenant});
    });
    return row.value()->at<std::int64_t>(0);
  };
  for (int i = 0; i < 100 && count("t2") == 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds{100});
  }
  EXPECT_EQ(count("t2"), 1);
  // A quarter of the queue, and the batch that the writer had taken before.
  EXPECT_LE(count("t1"), 6'000);
  const auto audited = p().database().read([](sql::Executor& sql) {
    return sql.find("SELECT count(*) FROM extension_audit_log WHERE action = 'guest.secret_read'");
  });
  EXPECT_EQ(audited.value()->at<std::int64_t>(0), 1)
      << "a guest that logs much cannot hide what it read";
}

TEST_P(Records, SealsTheAuditTrailAndFindsEveryAlteration) {
  for (int i = 0; i < 3; ++i) {
    p().plane().records().capability({.who = who("r"),
                                      .at = p().clock().wall(),
                                      .kind = "secret_read",
                                      .target = "api_key",
                                      .reason = ""});
  }
  flush();
  p().plane().stop(sql::within(std::chrono::seconds{5}));
  auto faults = [&] {
    auto report = verify_audit(p().database(), "t1");
    EXPECT_TRUE(report) << report.error().message;
    std::string all;
    for (const std::string& fault : report->faults) all += fault + "\n";
    return all;
  };
  auto clean = verify_audit(p().database(), "t1");
  ASSERT_TRUE(clean);
  EXPECT_EQ(clean->faults, std::vector<std::string>{});
  EXPECT_EQ(clean->unsealed, 0U);
  EXPECT_GE(clean->events, 5U);

  struct Alteration {
    const char* sql;
    const char* fault;
  };
  const Alteration alterations[] = {
      {"UPDATE extension_audit_log SET actor = 'nobody' WHERE action = 'install.created'",
       "its events are not the ones that were sealed"},
      {"DELETE FROM extension_audit_log WHERE action = 'guest.secret_read'", "were sealed"},
      {"UPDATE extension_audit_checkpoint SET chain = 'x'", "the signature of its checkpoint"},
      {"DELETE FROM extension_audit_checkpoint WHERE tenant = 't1'", "its checkpoint is missing"},
  };
  for (const auto& [text, fault] : alterations) {
    auto rows = p().database().write([&](sql::Executor& sql) { return sql.execute(text); });
    ASSERT_GE(rows.value(), 1U) << text;
    EXPECT_TRUE(faults().contains(fault)) << text;
  }
}

TEST_P(Records, PagesThroughTheAuditTrailWithoutLosingOrRepeatingAnEvent) {
  const auto page = [&](const std::string& query) {
    std::vector<std::string> ids;
    const Reply reply = p().call("GET", "/api/v1/audit?" + query, admin_);
    EXPECT_EQ(reply.status, 200) << reply.text;
    for (const auto& event : reply.at("/events").as_array()) {
      ids.emplace_back(event.at("id").as_string());
    }
    return ids;
  };
  for (const char* key : {"a", "b", "c", "d"}) {
    p().call("PATCH", "/api/v1/installs/" + install_ + "/config", admin_,
             object{{"set", {{key, "v"}}}});
  }
  const std::vector<std::string> all = page("limit=1000");
  ASSERT_GE(all.size(), 5U);
  std::vector<std::string> paged;
  for (auto ids = page("limit=2"); !ids.empty(); ids = page("limit=2&before=" + ids.back())) {
    paged.insert(paged.end(), ids.begin(), ids.end());
  }
  EXPECT_EQ(paged, all);
  EXPECT_EQ(p().call("GET", "/api/v1/audit?before=%27%3b--", admin_).status, 400);
}

TEST_P(Records, TakesDeliveriesOfOtherProcessesOnce) {
  std::string lines =
      telemetry::encode_record({"d1", domain::GuestLogLine{.who = who("remote"),
                                                           .at = p().clock().wall(),
                                                           .stream = "log",
                                                           .message = "from afar"}}) +
      "\n" + telemetry::encode_record({"d2", record("run-9", "remote")}) + "\n" +
      telemetry::encode_record({"d3", domain::CapabilityEvent{.who = who("remote"),
                                                              .at = p().clock().wall(),
                                                              .kind = "denied",
                                                              .target = "http.fetch"}}) +
      "\n";
  const HeaderMap token{{"x-runner-auth", "token-of-storage"}};
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(p().send("POST", "/internal/records", "", lines, token).status, 204);
  }
  EXPECT_EQ(p().call("GET", "/api/logs?request=remote", admin_).at("/lines").as_array().size(), 1U);
  EXPECT_EQ(execution("remote").at("status"), "ok");
  EXPECT_EQ(
      p().call("GET", "/api/v1/installs/" + install_ + "/usage", admin_).at("/usage/invocations"),
      1);
  std::string trail = p().call("GET", "/api/v1/audit", admin_).text;
  EXPECT_EQ(trail.find("guest.denied"), trail.rfind("guest.denied"));
  EXPECT_TRUE(trail.contains("guest.denied"));
  EXPECT_EQ(p().send("POST", "/internal/records", "", "{}\n", token).status, 400);
  EXPECT_EQ(p().send("POST", "/internal/records", admin_, lines).status, 401);
}

TEST_P(Records, BelievesNoRunnerThatNamesAnInstallItsTenantNeverHad) {
  const std::string other = p().admin_of("t2");
  const auto of = [&](auto change) {
    domain::ExecutionIdentity identity = who("remote");
    change(identity);
    return identity;
  };
  const std::string foreign[] = {
      delivery("other-tenant", of([](auto& it) { it.tenant = "t2"; })),
      delivery("no-tenant", of([](auto& it) { it.tenant = "t3"; })),
      delivery("no-install", of([](auto& it) { it.install = "another"; })),
      delivery("no-extension", of([](auto& it) { it.extension = "another"; })),
      delivery("nothing", of([](auto& it) { it.tenant = "t2", it.install = ""; })),
  };
  std::string all;
  for (const std::string& lines : foreign) all += lines;
  EXPECT_EQ(deliver(all + delivery("own", who("own")) +
                    delivery("unnamed", of([](auto& it) { it.install = ""; }))),
            204)
      << "a runner has nothing to send again";
  EXPECT_EQ(metrics_.count("alga_records_unknown_install_total"), 15);
  EXPECT_TRUE(log_->has("records.unknown_install"));
  const auto count = [&](const std::string& admin, const std::string& path, const char* list) {
    return p().call("GET", path, admin).at(list).as_array().size();
  };
  EXPECT_EQ(count(admin_, "/api/logs", "/lines"), 2U);
  EXPECT_EQ(count(admin_, "/api/v1/executions", "/executions"), 2U);
  EXPECT_EQ(count(other, "/api/logs", "/lines"), 0U);
  EXPECT_EQ(count(other, "/api/v1/executions", "/executions"), 0U);
  const std::string trail = p().call("GET", "/api/v1/audit", admin_).text;
  EXPECT_TRUE(trail.contains(R"("target":"own")")) << trail;
  EXPECT_TRUE(trail.contains(R"("target":"unnamed")"));
  EXPECT_FALSE(trail.contains(R"("target":"no-)")) << trail;
  EXPECT_FALSE(p().call("GET", "/api/v1/audit", other).text.contains("guest.denied"));
}

TEST_P(Records, BelievesWhatComesWhenTheInstallHasBeenRemoved) {
  ASSERT_TRUE(start("id-1", "r1"));
  ASSERT_EQ(p().call("DELETE", "/api/v1/installs/" + install_, admin_).status, 204);
  EXPECT_EQ(deliver(delivery("late", who("r1"))), 204);
  EXPECT_EQ(metrics_.count("alga_records_unknown_install_total"), 0);
  EXPECT_EQ(execution("r1").at("end_class"), "ok");
  EXPECT_TRUE(p().call("GET", "/api/v1/audit", admin_).text.contains("guest.denied"));
}

TEST_P(Records, BelievesOfARemovedInstallOnlyWhatNamesItsTenantAndExtension) {
  const std::string other = p().admin_of("t2");
  ASSERT_TRUE(start("id-1", "r1"));
  ASSERT_EQ(p().call("DELETE", "/api/v1/installs/" + install_, admin_).status, 204);
  const auto left_out = [&](const std::string& id, auto change) {
    const double before = metrics_.count("alga_records_unknown_install_total");
    domain::ExecutionIdentity identity = who("r2");
    change(identity);
    EXPECT_EQ(deliver(delivery(id, identity)), 204);
    return metrics_.count("alga_records_unknown_install_total") - before;
  };
  EXPECT_EQ(left_out("tenant", [](auto& it) { it.tenant = "t2"; }), 3);
  EXPECT_EQ(left_out("install", [](auto& it) { it.install = "another"; }), 3);
  EXPECT_EQ(left_out("extension", [](auto& it) { it.extension = "another"; }), 3);
  EXPECT_EQ(left_out("unnamed", [](auto& it) { it.install = ""; }), 3);
  EXPECT_EQ(left_out("own", [](auto&) {}), 0);
  for (const std::string& admin : {admin_, other}) {
    const std::size_t own = admin == admin_ ? 1 : 0;
    EXPECT_EQ(p().call("GET", "/api/logs", admin).at("/lines").as_array().size(), own);
  }
}

TEST_P(Records, LooksManyInstallsUpAtOnce) {
  std::string lines;
  for (int i = 0; i < 250; ++i) {
    domain::ExecutionIdentity other = who("r" + std::to_string(i));
    other.install = "install-" + std::to_string(i);
    lines += delivery(std::to_string(i), other);
  }
  EXPECT_EQ(deliver(lines + delivery("own", who("own"))), 204);
  EXPECT_EQ(metrics_.count("alga_records_unknown_install_total"), 750);
  EXPECT_TRUE(execution("own").is_object());
}

TEST_P(Records, PublishesTheKeysThatVerifyGrants) {
  Reply keys =
      p().call("GET", "/internal/grant-keys", "", {}, {{"x-runner-auth", "token-of-storage"}});
  ASSERT_EQ(keys.status, 200);
  EXPECT_EQ(keys.string("/keys/0/public_key"), p().plane().grant_keys().front().key.base64());
  EXPECT_EQ(keys.string("/broker_keys/0/public_key"),
            p().plane().broker_keys().front().key.base64());
  EXPECT_EQ(p().call("GET", "/internal/grant-keys", "").status, 401);
}

TEST_P(Records, ClaimsAnIdempotencyKeyOnce) {
  domain::IdempotencyScope scope{
      TenantId::parse("t1").value(),
      InstallId::parse(install_).value(),
      "tenant_user u1",
      "POST /hello",
      "key",
      std::make_shared<const domain::AnswerKey>("k1", Secret(std::string(32, 'k')))};
  using Kind = domain::IdempotencyClaim::Kind;
  auto& store = p().plane().idempotency();
  auto claim = [&](const std::string& digest) {
    return async::block_on(store.claim(scope, digest, std::chrono::seconds{30})).value();
  };
  EXPECT_EQ(claim("d1").kind, Kind::fresh);
  domain::IdempotencyScope of_another = scope;
  of_another.caller = "tenant_user u2";
  EXPECT_EQ(async::block_on(store.claim(of_another, "d1", std::chrono::seconds{30})).value().kind,
            Kind::fresh);
  EXPECT_EQ(claim("d1").kind, Kind::in_progress);
  EXPECT_EQ(claim("d2").kind, Kind::mismatch);
  ASSERT_TRUE(async::block_on(store.complete(
      scope, "d1", {.status = 201, .headers = {{"x-a", "b"}}, .body = std::string("\0b", 2)})));
  auto replay = claim("d1");
  EXPECT_EQ(replay.kind, Kind::replay);
  EXPECT_EQ(replay.answer.status, 201);
  EXPECT_EQ(replay.answer.body, std::string("\0b", 2));
  p().clock().advance(std::chrono::hours{25});
  EXPECT_EQ(claim("d2").kind, Kind::fresh);
  ASSERT_TRUE(async::block_on(store.release(scope, "d2")));
  EXPECT_EQ(claim("d3").kind, Kind::fresh);
  p().clock().advance(std::chrono::seconds{31});
  EXPECT_EQ(claim("d4").kind, Kind::fresh);  // whoever claimed it is gone
}

ALGA_ON_EVERY_DATABASE(Records);

class Bootstrap : public sql::testing::OnEveryDatabase {};

TEST_P(Bootstrap, GivesItsTokenOnceAndOnlyOnAnEmptyDatabase) {
  auto secrets = std::make_shared<vault::testing::MemorySecrets>();
  std::string token;
  {
    Platform first(open(), {}, secrets);
    token = first.operator_token();
    EXPECT_TRUE(token.starts_with("alga_boot_"));
    EXPECT_EQ(first.call("GET", "/api/v1/whoami", token).at("/principal/roles/0"), "operator");
  }
  Platform second(open(), {}, secrets);
  EXPECT_EQ(second.operator_token(), "");
  EXPECT_EQ(second.call("GET", "/api/v1/whoami", token).status, 200);
  EXPECT_EQ(second.call("DELETE", "/api/v1/api-keys/boot", token).status, 204);
  EXPECT_EQ(second.call("GET", "/api/v1/whoami", token).status, 401);
}

ALGA_ON_EVERY_DATABASE(Bootstrap);

}  // namespace
}  // namespace alga::control_plane
