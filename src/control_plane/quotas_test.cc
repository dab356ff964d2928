#include "control_plane/quotas.h"

#include <fmt/format.h>

#include <memory>
#include <thread>
#include <vector>

#include "base/testing_metrics.h"
#include "control_plane/testing.h"
#include "telemetry/record_json.h"

namespace alga::control_plane {
namespace {

using boost::json::object;
using testing::OnPlatform;
using testing::Platform;
using testing::Reply;

class QuotaContract : public OnPlatform {
 protected:
  void SetUp() override {
    OnPlatform::SetUp();
    if (!platform_) return;
    publish_hello();
    admin_ = p().admin_of("t1");
    install_ = install_hello(admin_);
    extension_ =
        p().call("GET", "/api/v1/installs/" + install_, admin_).string("/install/extension_id");
  }
  domain::ExecutionIdentity who(const std::string& tenant, const std::string& request) {
    return {.tenant = tenant,
            .extension = "e",
            .install = install_,
            .version = "v",
            .request_id = request,
            .trace_id = ""};
  }
  Status start(Platform& host, const std::string& id, const std::string& tenant = "t1") {
    return async::block_on(host.plane().executions().start(
        {.id = id, .who = who(tenant, id), .at = host.clock().wall()}));
  }
  Status start(const std::string& id, const std::string& tenant = "t1") {
    return start(p(), id, tenant);
  }
  /// What the runner says of the execution that `start(id)` admitted.
  void finish(const std::string& id, std::uint64_t cpu_us, std::uint64_t memory_bytes = 0,
              std::uint64_t egress_bytes = 0) {
    domain::ExecutionRecord done{.id = "run-" + id, .who = who("t1", id)};
    done.started = done.finished = p().clock().wall();
    done.end_class = "ok";
    done.call_us = 1'000'000;
    done.cpu_us = cpu_us;
    done.peak_memory_bytes = memory_bytes;
    done.egress_bytes = egress_bytes;
    p().plane().records().execution(std::move(done));
    // The queue keeps its order: once this row of another tenant is there, so is the record.
    ASSERT_TRUE(start("after-" + id, "t2"));
  }
  Reply set(const object& limits) {
    return p().call("PUT", "/api/v1/tenants/t1/quota", p().operator_token(), limits);
  }
  Reply quota() { return p().call("GET", "/api/v1/quota", admin_); }
  std::string admin_, install_, extension_;
};

TEST_P(QuotaContract, RefusesTheInvocationAfterTheLastAndSaysWhenToComeBack) {
  ASSERT_EQ(set({{"invocations", 2}}).status, 200);
  EXPECT_TRUE(start("a"));
  EXPECT_TRUE(start("b"));
  Status third = start("c");
  ASSERT_FALSE(third);
  EXPECT_EQ(third.error().code, "quota.invocations_exceeded");
  EXPECT_EQ(third.error().kind, Kind::rate_limited);
  EXPECT_GT(third.error().retry_after_s, 0U);
  EXPECT_LE(third.error().retry_after_s, 86'400U);
  EXPECT_TRUE(start("d", "t2")) << "another tenant's quota is its own";
  p().clock().advance(std::chrono::seconds{third.error().retry_after_s});
  EXPECT_TRUE(start("e")) << "a new window begins when the advice said";
  EXPECT_EQ(quota().at("/quota/used/invocations"), 1);
}

TEST_P(QuotaContract, NeverAdmitsOneTooManyAcrossHosts) {
  constexpr int kLimit = 25;
  ASSERT_EQ(set({{"invocations", kLimit}}).status, 200);
  Platform other(open(), {}, p().secrets());
  std::atomic<int> admitted = 0;
  std::atomic<int> refused = 0;
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 8; ++t) {
      threads.emplace_back([&, t] {
        Platform& host = t % 2 == 0 ? p() : other;
        for (int i = 0; i < 10; ++i) {
          Status verdict = start(host, std::to_string(t) + "-" + std::to_string(i));
          if (verdict) {
            ++admitted;
          } else {
            EXPECT_EQ(verdict.error().code, "quota.invocations_exceeded");
            ++refused;
          }
        }
      });
    }
  }
  EXPECT_EQ(admitted, kLimit);
  EXPECT_EQ(refused, 80 - kLimit);
  EXPECT_EQ(quota().at("/quota/used/invocations"), kLimit);
}

TEST_P(QuotaContract, NobodyLosesWhileHostsAdmitAndRunnersDeliverForOneTenant) {
  constexpr int kThreads = 4, kRounds = 3, kEach = 10;
  alga::testing::CountingMetrics metrics;
  Counter& repeats = metrics.counter("repeats", "");
  std::vector<std::unique_ptr<Platform>> hosts;
  for (int host = 0; host < 2; ++host) {
    auto database = sql::open_database(address_, sql::OpenOptions{.repeats = &repeats});
    ASSERT_TRUE(database);
    hosts.push_back(std::make_unique<Platform>(std::move(*database), nullptr, p().secrets()));
  }
  const auto deliver = [](Platform& host, const std::string& lines) {
    const auto answer =
        host.send("POST", "/internal/records", "", lines, {{"x-runner-auth", "token-of-storage"}});
    EXPECT_EQ(answer.status, 204);
  };
  const auto round = [&](int thread, int round) {
    std::string lines;
    for (int i = 0; i < kEach; ++i) {
      const std::string id = fmt::format("{}-{}-{}", i, round, thread);
      Platform& host = *hosts[thread % 2];
      EXPECT_TRUE(start(host, id));
      host.plane().executions().finish(
          {.id = id, .tenant = "t1", .at = p().clock().wall(), .status = "ok"});
      domain::ExecutionRecord done{.id = id, .who = who("t1", id)};
      done.who.extension = extension_;
      done.started = done.finished = p().clock().wall();
      done.end_class = "ok";
      done.cpu_us = 1'000;
      lines = telemetry::encode_record({id, done}) + "\n" + lines;  // the last one first
    }
    // A runner that was not answered in time delivers again, while the first delivery goes on.
    std::jthread again([&] { deliver(*hosts[0], lines); });
    deliver(*hosts[1], lines);
  };
  {
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([&, thread] {
        for (int i = 0; i < kRounds; ++i) round(thread, i);
      });
    }
  }
  hosts.clear();
  // Of what hosts do besides, once a second each, one may lose; every second of these writes would.
  EXPECT_LT(metrics.count("repeats"), 10);
  constexpr int kAll = kThreads * kRounds * kEach;
  EXPECT_EQ(quota().at("/quota/used/invocations"), kAll);
  EXPECT_EQ(quota().at("/quota/used/cpu_ms"), kAll) << "each record counted once";
}

TEST_P(QuotaContract, CountsARepeatedStartOnce) {
  ASSERT_EQ(set({{"invocations", 2}}).status, 200);
  EXPECT_TRUE(start("a"));
  EXPECT_TRUE(start("a"));
  EXPECT_TRUE(start("b"));
  EXPECT_FALSE(start("c"));
}

TEST_P(QuotaContract, StopsAdmittingWhenWhatExecutionsCostIsUsedUp) {
  struct Case {
    const char* limit;
    std::uint64_t cpu_us, memory_bytes, egress_bytes;
    const char* code;
  };
  const Case cases[] = {{"cpu_ms", 5'000, 0, 0, "quota.cpu_exceeded"},
                        {"memory_mb_s", 0, 5U << 20U, 0, "quota.memory_exceeded"},
                        {"egress_bytes", 0, 0, 5, "quota.egress_exceeded"}};
  int n = 0;
  for (const Case& it : cases) {
    p().clock().advance(std::chrono::days{1});
    ASSERT_EQ(set({{it.limit, 5}}).status, 200);
    std::string id = "x" + std::to_string(++n);
    ASSERT_TRUE(start(id)) << it.limit;
    finish(id, it.cpu_us, it.memory_bytes, it.egress_bytes);
    Status next = start(id + "-next");
    ASSERT_FALSE(next) << it.limit;
    EXPECT_EQ(next.error().code, it.code);
    EXPECT_EQ(quota().at("/quota/used/" + std::string(it.limit)), 5);
  }
}

TEST_P(QuotaContract, CountsWhatRunsWithoutAGatewayToo) {
  domain::ExecutionRecord done{.id = "lone", .who = who("t1", "lone")};
  done.started = done.finished = p().clock().wall();
  p().plane().records().execution(std::move(done));
  ASSERT_TRUE(start("after", "t2"));
  EXPECT_EQ(quota().at("/quota/used/invocations"), 1);
}

TEST_P(QuotaContract, LetsAnOperatorLiftAndRestoreALimit) {
  ASSERT_EQ(set({{"invocations", 0}}).status, 200);
  EXPECT_FALSE(start("a"));
  ASSERT_EQ(set({{"invocations", nullptr}}).status, 200);
  EXPECT_TRUE(start("b"));
  EXPECT_EQ(quota().at("/quota/limits/invocations"), nullptr);
}

TEST_P(QuotaContract, IsSetByOperatorsAndSeenByTheTenantOnly) {
  EXPECT_EQ(p().call("PUT", "/api/v1/tenants/t1/quota", admin_, object{{"invocations", 9}}).status,
            403);
  for (const object& bad : {object{{"invocations", -1}}, object{{"calls", 1}}}) {
    Reply refused =
        p().call_malformed("PUT", "/api/v1/tenants/t1/quota", p().operator_token(), bad);
    EXPECT_EQ(refused.status, 400) << bad;
  }
  EXPECT_EQ(p().call("PUT", "/api/v1/tenants/nobody/quota", p().operator_token(), object{})
                .string("/error/code"),
            "tenant.not_found");
  std::string stranger = p().admin_of("t2");
  Reply theirs = p().call("GET", "/api/v1/quota", stranger);
  EXPECT_EQ(theirs.string("/quota/tenant"), "t2");
  EXPECT_EQ(p().call("GET", "/api/v1/quota", stranger, {}, {{"x-tenant-id", "t1"}}).status, 403);
}

ALGA_ON_EVERY_DATABASE(QuotaContract);

TEST(QuotaWindow, BeginsWithTheHourDayOrMonthOfUtc) {
  WallTime at = *parse_rfc3339("2028-02-29T23:45:10Z");
  auto text = [&](QuotaPeriod period) {
    QuotaWindow window = quota_window(period, at);
    return format_rfc3339(window.begin).substr(0, 19) + " " +
           format_rfc3339(window.end).substr(0, 19);
  };
  EXPECT_EQ(text(QuotaPeriod::hour), "2028-02-29T23:00:00 2028-03-01T00:00:00");
  EXPECT_EQ(text(QuotaPeriod::day), "2028-02-29T00:00:00 2028-03-01T00:00:00");
  EXPECT_EQ(text(QuotaPeriod::month), "2028-02-01T00:00:00 2028-03-01T00:00:00");
}

}  // namespace
}  // namespace alga::control_plane
