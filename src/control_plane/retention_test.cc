// Logs stay within their bounds of age and size, and can be asked for by what they are.

#include "control_plane/retention.h"

#include <latch>
#include <thread>

#include "control_plane/core.h"
#include "control_plane/testing.h"

namespace alga::control_plane {
namespace {

using boost::json::object;
using testing::OnPlatform;
using testing::Platform;
using testing::Reply;

class Retained : public OnPlatform {
 protected:
  void SetUp() override {
    OnPlatform::SetUp();
    if (!platform_) return;
    publish_hello();
    for (const char* tenant : {"t1", "t2"}) admins_[tenant] = p().admin_of(tenant);
    install_ = install_hello(admins_["t1"]);
  }
  domain::ExecutionIdentity who(const std::string& tenant, const std::string& request) {
    return {.tenant = tenant,
            .extension = "e",
            .install = install_,
            .version = "v",
            .request_id = request,
            .trace_id = ""};
  }
  void line(const std::string& tenant, const std::string& message, const char* stream = "log") {
    p().plane().records().guest_log({.who = who(tenant, "r"),
                                     .at = p().clock().wall(),
                                     .level = LogLevel::info,
                                     .stream = stream,
                                     .message = message});
  }
  /// The queue keeps its order: once this row is there, so is everything before it.
  void execution(const std::string& tenant, const std::string& id) {
    ASSERT_TRUE(async::block_on(p().plane().executions().start(
        {.id = id, .who = who(tenant, "request-" + id), .at = p().clock().wall()})));
  }
  std::string messages(const std::string& tenant, const std::string& query = "",
                       const testing::HeaderMap& headers = {}) {
    std::string all;
    Reply reply = p().call("GET", "/api/logs?limit=1000" + query, admins_[tenant], {}, headers);
    EXPECT_EQ(reply.status, 200) << reply.text;
    for (const auto& one : reply.at("/lines").as_array()) {
      all += std::string(one.at("message").as_string()) + ";";
      last_id_ = std::string(one.at("id").as_string());
    }
    return all;
  }
  /// A host that starts sweeps at once, on a clock that stands where all of these tests begin;
  /// waits until `done`.
  void sweep(const std::function<bool()>& done, std::function<void(Options&)> adjust) {
    Platform other(open(), std::move(adjust), p().secrets());
    for (int i = 0; i < 500 && !done(); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds{20});
    }
  }
  std::map<std::string, std::string> admins_;
  std::string install_, last_id_;
};

TEST_P(Retained, ForgetsWhatIsOlderThanItsTime) {
  line("t1", "old");
  execution("t1", "x-old");
  p().clock().advance(std::chrono::days{100});
  line("t1", "new");
  execution("t1", "x-new");
  ASSERT_EQ(messages("t1"), "old;new;");
  // The clock of the host that sweeps stands where ours began: its bounds are moved instead.
  auto past = p().clock().wall() - ManualClock{}.wall();
  sweep([&] { return messages("t1") == "new;"; },
        [&](Options& options) {
          auto keep = std::chrono::duration_cast<std::chrono::hours>(std::chrono::hours{24} - past);
          options.retention.guest_logs = keep;
          options.retention.executions = keep;
        });
  EXPECT_EQ(messages("t1"), "new;");
  Reply left = p().call("GET", "/api/v1/executions", admins_["t1"]);
  ASSERT_EQ(left.at("/executions").as_array().size(), 1U) << left.text;
  EXPECT_EQ(left.string("/executions/0/id"), "x-new");
}

TEST_P(Retained, WritesOffWhatNoGatewayFinishes) {
  for (const char* id : {"x-lost", "x-ran", "x-late", "x-done"}) execution("t1", id);
  auto& log = p().plane().executions();
  log.finish({.id = "x-done", .tenant = "t1", .at = p().clock().wall(), .status = "ok"});
  // A runner delivers how it ended; the gateway that asked it is gone.
  domain::ExecutionRecord ran;
  ran.id = "x-ran";
  ran.who = who("t1", "request-x-ran");
  ran.started = ran.finished = p().clock().wall();
  ran.end_class = "wall_limit";
  p().plane().records().execution(ran);
  execution("t1", "x-last");
  const auto of = [&](const std::string& id, const char* member) {
    const Reply reply = p().call("GET", "/api/v1/executions?request=request-" + id, admins_["t1"]);
    const auto value = reply.at(std::string("/executions/0/") + member);
    return value.is_string() ? std::string(value.as_string()) : "";
  };
  sweep([&] { return of("x-last", "status") != "started"; },
        [](Options& options) { options.retention.unfinished = -std::chrono::minutes{60}; });
  EXPECT_EQ(of("x-lost", "status") + " " + of("x-lost", "error"), "error gateway_lost");
  EXPECT_EQ(of("x-ran", "status") + " " + of("x-ran", "error"), "timeout gateway_lost");
  EXPECT_EQ(of("x-done", "status") + " " + of("x-done", "error"), "ok ");
  // One that was only slow is believed after all.
  log.finish({.id = "x-late", .tenant = "t1", .at = p().clock().wall(), .status = "ok"});
  execution("t1", "x-behind");
  EXPECT_EQ(of("x-late", "status") + " " + of("x-late", "error"), "ok ");
}

TEST_P(Retained, WaitsForNobodyWhoHoldsARow) {
  for (const char* id : {"x-held", "x-free"}) execution("t1", id);
  const auto status_of = [&](const std::string& id) {
    return p()
        .call("GET", "/api/v1/executions?request=request-" + id, admins_["t1"])
        .string("/executions/0/status");
  };
  // SQLite has one writer at a time: nobody can hold a row while another one sweeps.
  const bool can_be_held = GetParam() == sql::Dialect::postgres;
  std::latch held(can_be_held ? 1 : 0);
  std::latch swept(1);
  auto database = open();
  std::jthread holder([&] {
    if (!can_be_held) return;
    Status done = database->write(
        [&](sql::Executor& sql) -> Status {
          auto row = sql.find("SELECT id FROM extension_execution_log WHERE id = 'x-held'" +
                              std::string(sql.row_lock()));
          held.count_down();
          swept.wait();
          return row ? Status{} : fail(std::move(row).error());
        },
        {.isolation = sql::Isolation::read_committed});
    EXPECT_TRUE(done) << done.error().message;
  });
  held.wait();
  sweep([&] { return status_of("x-free") != "started"; },
        [](Options& options) { options.retention.unfinished = -std::chrono::minutes{60}; });
  EXPECT_EQ(status_of("x-free"), "error");
  EXPECT_EQ(status_of("x-held"), can_be_held ? "started" : "error");
  swept.count_down();
}

TEST_P(Retained, TrimsTheOldestLinesOfATenantThatLogsTooMuch) {
  for (int i = 0; i < 10; ++i) line("t1", std::to_string(i) + std::string(99, '.'));
  line("t2", "modest");
  execution("t2", "after");
  sweep([&] { return messages("t1").size() < 1'000; },
        [](Options& options) { options.retention.guest_log_bytes_per_tenant = 500; });
  std::string left = messages("t1");
  EXPECT_LE(left.size(), 510U);
  EXPECT_TRUE(left.starts_with("5")) << left;
  EXPECT_TRUE(left.contains("9")) << "the newest stay";
  EXPECT_EQ(messages("t2"), "modest;");
}

TEST_P(Retained, CountsBytesAndNotCharacters) {
  std::string wide;
  for (int i = 0; i < 99; ++i) wide += "\u00e9";  // two bytes each
  for (int i = 0; i < 10; ++i) line("t1", std::to_string(i) + wide);
  execution("t1", "after");
  ASSERT_EQ(messages("t1").size(), 2'000U);
  sweep([&] { return messages("t1").size() < 2'000; },
        [](Options& options) { options.retention.guest_log_bytes_per_tenant = 1'000; });
  const std::string left = messages("t1");
  EXPECT_LE(left.size(), 1'005U);
  EXPECT_TRUE(left.starts_with("5")) << left;
}

TEST_P(Retained, ShowsOneStreamAndGoesOnBehindALine) {
  line("t1", "first");
  line("t1", "printed", "stdout");
  execution("t1", "x");
  EXPECT_EQ(messages("t1", "&stream=stdout"), "printed;");
  EXPECT_EQ(messages("t1"), "first;printed;");
  std::string seen = last_id_;
  line("t1", "second");
  execution("t1", "y");
  EXPECT_EQ(messages("t1", "", {{"last-event-id", seen}}), "second;");
  EXPECT_EQ(p().call_malformed("GET", "/api/logs?stream=paper", admins_["t1"]).status, 400);
}

TEST_P(Retained, FindsExecutionsByIdRequestStatusAndTime) {
  execution("t1", "x1");
  WallTime between = p().clock().wall() + std::chrono::seconds{5};
  p().clock().advance(std::chrono::seconds{10});
  execution("t1", "x2");
  auto ids = [&](const std::string& query) {
    std::string all;
    Reply reply = p().call("GET", "/api/v1/executions" + query, admins_["t1"]);
    for (const auto& one : reply.at("/executions").as_array()) {
      all += std::string(one.at("id").as_string()) + ";";
    }
    return all;
  };
  EXPECT_EQ(ids(""), "x2;x1;");
  EXPECT_EQ(ids("?request=request-x1"), "x1;");
  EXPECT_EQ(ids("?status=started&limit=1"), "x2;");
  EXPECT_EQ(ids("?status=ok"), "");
  for (const char* none : {"policy_denied", "replayed", "OK"}) {
    const std::string path = std::string("/api/v1/executions?status=") + none;
    EXPECT_EQ(p().call_malformed("GET", path, admins_["t1"]).status, 400) << none;
  }
  EXPECT_EQ(ids("?before=" + format_rfc3339(between)), "x1;");
  // Page by page, of which some began in the same moment.
  execution("t1", "x3");
  execution("t1", "x4");
  EXPECT_EQ(ids("?limit=2"), "x4;x3;");
  EXPECT_EQ(ids("?limit=2&before=x3"), "x2;x1;");
  EXPECT_EQ(ids("?before=x1"), "");
  for (const char* none : {"2030-01-01", "x9", "", "%27%3b--", "x1%00"}) {
    const std::string path = std::string("/api/v1/executions?before=") + none;
    EXPECT_EQ(p().call("GET", path, admins_["t1"]).string("/error/code"), "request.invalid")
        << none;
  }
  EXPECT_EQ(p().call("GET", "/api/v1/executions?before=x1", admins_["t2"]).status, 400);
  Reply one = p().call("GET", "/api/v1/executions/x2", admins_["t1"]);
  EXPECT_EQ(one.string("/execution/request_id"), "request-x2");
  EXPECT_EQ(p().call("GET", "/api/v1/executions/x2", admins_["t2"]).string("/error/code"),
            "execution.not_found");
}

/// A database that remembers what was changed in it, statement by statement.
class Remembering final : public testing::PassingDatabase {
 public:
  using PassingDatabase::PassingDatabase;
  using Statement = std::pair<std::string, std::vector<sql::Value>>;
  std::vector<Statement> statements;

 protected:
  Status run_write(const sql::WriteOptions& options, Work work) override {
    return real().write(
        [&](sql::Executor& sql) {
          Listening listening(*this, sql);
          return work(listening);
        },
        options);
  }

 private:
  class Listening final : public testing::PassingExecutor {
   public:
    Listening(Remembering& to, sql::Executor& real) : PassingExecutor(real), to_(to) {}
    Result<std::uint64_t> execute(std::string_view text,
                                  const std::vector<sql::Value>& params) override {
      to_.statements.emplace_back(text, params);
      return PassingExecutor::execute(text, params);
    }

   private:
    Remembering& to_;
  };
};

TEST_P(Retained, GoesStraightToTheRowsThatItForgets) {
  Remembering database(open());
  Dependencies deps;
  deps.database = &database;
  deps.clock = &p().clock();
  SystemRandom random;
  NoMetrics metrics;
  deps.random = &random;
  deps.metrics = &metrics;
  const Core core(std::move(deps));
  ASSERT_TRUE(Retention(core).sweep());
  ASSERT_EQ(database.statements.size(), 3U);
  const bool sqlite = GetParam() == sql::Dialect::sqlite;
  for (const auto& [text, params] : database.statements) {
    auto plan = database.read([&](sql::Executor& sql) -> Result<sql::Rows> {
      // Of a table that fits a page or two it would read everything in any case.
      if (!sqlite) TRY_VOID(sql.execute("SET enable_seqscan = off"));
      return sql.query((sqlite ? "EXPLAIN QUERY PLAN " : "EXPLAIN ") + text, params);
    });
    ASSERT_TRUE(plan) << plan.error().message;
    std::string all;
    for (const sql::Row& row : *plan) all += row.at<std::string>(sqlite ? 3 : 0) + "\n";
    EXPECT_TRUE(all.contains(sqlite ? "USING INTEGER PRIMARY KEY (rowid=?)" : "Tid Scan"))
        << text << "\n"
        << all;
  }
}

ALGA_ON_EVERY_DATABASE(Retained);

}  // namespace
}  // namespace alga::control_plane
