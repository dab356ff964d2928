#include "engine/engine.h"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <string_view>

#include "engine/testing.h"

namespace alga::engine {
namespace {

using domain::EndClass;
using domain::Limit;
using testing::EngineTest;

// ---- how an execution ends
// -----------------------------------------------------------------------

struct End {
  const char* guest;
  EndClass end;
  const char* limit;  ///< the series of alga_limit_hits_total that must count; empty for none
  void (*arrange)(Options&, Invocation&) = [](Options&, Invocation&) {};
};

std::string name_of(const ::testing::TestParamInfo<End>& info) {
  std::string name = info.param.guest;
  std::erase(name, '-');
  return name + "_" + std::string(domain::info(info.param.end).name) + "_" + info.param.limit;
}

class EndsTest : public EngineTest, public ::testing::WithParamInterface<End> {};

TEST_P(EndsTest, EndsAsItsClassAndCountsItsLimit) {
  const End& wanted = GetParam();
  Invocation how = invocation();
  wanted.arrange(options, how);
  Outcome outcome = run(wanted.guest, std::move(how));
  EXPECT_EQ(domain::info(outcome.end).name, domain::info(wanted.end).name) << outcome.message;
  if (*wanted.limit != '\0') {
    EXPECT_EQ(metrics.count(std::string(domain::limit_hits_metric) + "{" + wanted.limit + "}"), 1)
        << outcome.message << '\n'
        << metrics.all();
    const auto known = domain::parse_limit(wanted.limit);
    EXPECT_EQ(outcome.limits, known ? std::vector{*known} : std::vector<Limit>{});
  }
  if (outcome.end != EndClass::ok) EXPECT_FALSE(outcome.message.empty());
  // The end of one execution is nothing to the next, of whatever tenant.
  Outcome next = run("echo", invocation("other"));
  EXPECT_EQ(next.end, EndClass::ok) << next.message;
  EXPECT_EQ(next.response.body, "hello");
}

void set(Options& options, Limit limit, std::uint64_t value) {
  ASSERT_TRUE(options.limits.set_value(limit, value)) << domain::info(limit).name;
}

INSTANTIATE_TEST_SUITE_P(
    OfAnExecution, EndsTest,
    ::testing::Values(
        End{"echo", EndClass::ok, ""}, End{"trap", EndClass::trap, ""},
        End{"exit", EndClass::guest_error, ""},
        End{"fetch-or-exit", EndClass::egress_denied, "",
            [](Options&, Invocation& how) { how.egress = nullptr; }},
        End{"fetch-or-exit", EndClass::guest_error, "",
            [](Options&, Invocation& how) {
              how.capabilities.remove(domain::Capability::http_fetch);
            }},
        End{"recurse", EndClass::stack_overflow, ""},
        End{"loop", EndClass::cpu_limit, "cpu_time",
            [](Options&, Invocation& how) { how.limits.cpu_ms = 20; }},
        End{"loop", EndClass::wall_limit, "wall_time",
            [](Options&, Invocation& how) { how.limits.wall_ms = 30; }},
        End{"start-loop", EndClass::cpu_limit, "cpu_time",
            [](Options&, Invocation& how) { how.limits.cpu_ms = 20; }},
        End{"start-loop", EndClass::wall_limit, "wall_time",
            [](Options&, Invocation& how) { how.limits.wall_ms = 30; }},
        End{"sleep", EndClass::wall_limit, "wall_time",
            [](Options&, Invocation& how) { how.limits.wall_ms = 30; }},
        End{"grow-memory", EndClass::memory_limit, "memory",
            [](Options&, Invocation& how) { how.limits.memory_bytes = 4U << 20U; }},
        End{"echo", EndClass::memory_limit, "memory",
            [](Options&, Invocation& how) { how.limits.memory_bytes = 1; }},
        End{"grow-table", EndClass::table_limit, "table_elements",
            [](Options& options, Invocation&) { set(options, Limit::table_elements, 1000); }},
        End{"call-flood", EndClass::hostcall_limit, "host_calls",
            [](Options& options, Invocation&) { set(options, Limit::host_calls, 100); }},
        End{"log-flood", EndClass::hostcall_limit, "host_calls",
            [](Options& options, Invocation&) { set(options, Limit::host_calls, 100); }},
        End{"schedule-flood", EndClass::hostcall_limit, "host_calls",
            [](Options& options, Invocation&) { set(options, Limit::host_calls, 100); }},
        End{"log-flood", EndClass::hostcall_limit, "host_bytes",
            [](Options& options, Invocation&) { set(options, Limit::host_bytes, 1000); }},
        End{"call-flood", EndClass::hostcall_limit, "host_bytes",
            [](Options& options, Invocation& how) {
              set(options, Limit::host_bytes, 100'000);
              // The guest asks for three bytes of its memory that nobody has written.
              how.request.config[std::string(3, '\0')] = std::string(10'000, 'v');
            }},
        End{"big-call", EndClass::hostcall_limit, "host_bytes",
            [](Options& options, Invocation&) { set(options, Limit::host_bytes, 59'999); }},
        End{"big-answer", EndClass::hostcall_limit, "response_body",
            [](Options& options, Invocation&) { set(options, Limit::response_body, 1'048'575); }},
        End{"many-headers", EndClass::hostcall_limit, "header_count",
            [](Options& options, Invocation&) { set(options, Limit::header_count, 199); }},
        End{"hoard", EndClass::hostcall_limit, "resource_handles"},
        End{"context", EndClass::capability_denied, "",
            [](Options&, Invocation& how) {
              how.capabilities.remove(domain::Capability::context_read);
            }}),
    name_of);

/// What is just within a limit is no hit.
INSTANTIATE_TEST_SUITE_P(
    AtTheBorder, EndsTest,
    ::testing::Values(
        End{"big-call", EndClass::ok, "",
            [](Options& options, Invocation&) { set(options, Limit::host_bytes, 60'000); }},
        End{"big-answer", EndClass::ok, "",
            [](Options& options, Invocation&) { set(options, Limit::response_body, 1'048'576); }},
        End{"many-headers", EndClass::ok, "",
            [](Options& options, Invocation&) { set(options, Limit::header_count, 200); }},
        End{"context", EndClass::ok, ""}),
    name_of);

TEST_F(EngineTest, RefusesBytesThatAreNoComponent) {
  Loaded loaded = load("core-module");
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, "engine.bad_component");
}

TEST_F(EngineTest, NamesAnImportThatNobodyOffers) {
  Loaded loaded = load("unknown-import");
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, "engine.link_error");
  EXPECT_NE(loaded.error().message.find("wasi:made-up/telepathy@9.0.0"), std::string::npos);
}

TEST_F(EngineTest, RefusesAComponentAboveTheSizeLimit) {
  set(options, Limit::component_size, domain::info(Limit::component_size).minimum);
  const std::filesystem::path large = folder() / "large.wasm";
  testing::write_file(large, std::string(domain::info(Limit::component_size).minimum + 1, 'x'));
  std::promise<Loaded> promise;
  engine().load(testing::hash_of(large), large, nullptr, "acme",
                [&](Loaded answer) { promise.set_value(std::move(answer)); });
  Loaded loaded = promise.get_future().get();
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, "component.too_large");
  EXPECT_EQ(metrics.count("alga_limit_hits_total{component_size}"), 1);
  const auto report = engine().inspect(large.string());
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, "component.too_large");
  EXPECT_EQ(metrics.count("alga_limit_hits_total{component_size}"), 2) << "and so at publish";
}

TEST_F(EngineTest, StartsEveryExecutionFromTheSameState) {
  auto component = load("counter");
  ASSERT_TRUE(component);
  for (int i = 0; i < 50; ++i) {
    Outcome outcome = start(*component, invocation(i % 2 == 0 ? "acme" : "other")).outcome.get();
    ASSERT_EQ(outcome.response.body, std::string(1, '\1')) << "execution " << i;
  }
}

/// Pages kept, and pages given back.
class EngineSlotTest : public EngineTest, public ::testing::WithParamInterface<KeepPages> {};

TEST_P(EngineSlotTest, StartsEveryExecutionInASlotFromTheSameState) {
  options.keep_pages = GetParam();
  options.max_executions = 1;  // every execution gets the slot of the one before
  auto component = load("counter");
  ASSERT_TRUE(component);
  for (int i = 0; i < 50; ++i) {
    Outcome outcome = start(*component, invocation()).outcome.get();
    ASSERT_EQ(outcome.response.body, std::string(1, '\1')) << "execution " << i;
  }
  const bool kept = GetParam() == KeepPages::on;
  // The gauge follows a moment after the slot.
  for (int i = 0; i < 500 && kept && metrics.count("alga_pool_resident_bytes") == 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_EQ(metrics.count("alga_pool_resident_bytes") > 0, kept);
}
INSTANTIATE_TEST_SUITE_P(Pages, EngineSlotTest, ::testing::Values(KeepPages::on, KeepPages::off),
                         [](const auto& info) {
                           return info.param == KeepPages::on ? "Kept" : "GivenBack";
                         });

TEST_F(EngineTest, GivesTheLogToTheRecordsWithItsIdentity) {
  EXPECT_EQ(run("log").end, EndClass::ok);
  EXPECT_EQ(records.lines(), std::vector<std::string>{"the guest ran"});
}

TEST_F(EngineTest, PutsEveryAttemptAtASchedulerOnRecordAndNoMoreThanItsHostCalls) {
  ASSERT_TRUE(options.limits.set_value(Limit::host_calls, 50));
  EXPECT_EQ(run("schedule-flood").end, EndClass::hostcall_limit);
  const std::vector<std::string> events = records.events();
  EXPECT_EQ(events.size(), 2U) << "the first, and at the end how many more";
  for (const std::string& event : events) {
    EXPECT_EQ(event, "denied alga:extension/scheduler#list-schedules");
  }
  EXPECT_EQ(metrics.count("alga_denials_total{capability}"), 50);
}

TEST_F(EngineTest, DropsTheLogOfAGuestThatMayNotLog) {
  Invocation how = invocation();
  how.capabilities.remove(domain::Capability::log_emit);
  EXPECT_EQ(run("log", std::move(how)).end, EndClass::ok);
  EXPECT_TRUE(records.lines().empty());
  EXPECT_EQ(metrics.count("alga_denials_total{capability}"), 1);
}

TEST_F(EngineTest, AnswersACallWithoutItsCapabilityWithADeniedErrorAndARecord) {
  Invocation how = invocation();
  how.capabilities.remove(domain::Capability::http_fetch);
  Outcome outcome = run("fetch", std::move(how));
  EXPECT_EQ(outcome.end, EndClass::ok);
  EXPECT_EQ(outcome.response.status, 501);  // http-error.not-allowed
  EXPECT_EQ(records.events(), std::vector<std::string>{"denied http"});
}

TEST_F(EngineTest, DeniesEveryRequestWithoutAPolicy) {
  Invocation how = invocation();
  how.egress = nullptr;
  EXPECT_EQ(run("fetch", std::move(how)).response.status, 501);
  EXPECT_EQ(records.events(), std::vector<std::string>{"egress_denied https://api.test/slow"});
}

TEST_F(EngineTest, DeniesStorageThatIsNotThere) {
  EXPECT_EQ(run("storage").response.status, 502);  // storage-error.denied
}

TEST_F(EngineTest, ServesTheOtherInstallsOfATenantOneOfWhichHasNoPlaceLeft) {
  options.max_executions = 8;
  options.max_executions_per_tenant = 8;
  options.max_executions_per_install = 2;
  ASSERT_TRUE(options.limits.set_value(Limit::queue_wait, 0));
  auto component = load("sleep");
  ASSERT_TRUE(component);
  const auto of = [&](const std::string& install, const std::string& extension) {
    Invocation out = invocation();
    out.who.install = install;
    out.who.extension = extension;
    return out;
  };
  std::vector<Started> held;
  for (int i = 0; i < 2; ++i) held.push_back(start(*component, of("full", "one")));
  Outcome refused = start(*component, of("full", "one")).outcome.get();
  EXPECT_EQ(refused.end, EndClass::overload);
  EXPECT_TRUE(refused.tenant_busy);
  EXPECT_GE(refused.retry_after_s, 1U);
  EXPECT_EQ(refused.limits, std::vector{Limit::executions_per_install});
  EXPECT_EQ(metrics.count("alga_limit_hits_total{executions_per_install}"), 1);
  EXPECT_EQ(run("echo", of("other", "one")).end, EndClass::ok);
  for (int i = 0; i < 2; ++i) held.push_back(start(*component, of("", "two")));
  EXPECT_EQ(start(*component, of("", "two")).outcome.get().limits,
            std::vector{Limit::executions_per_install})
      << "a request without install counts as its extension's";
  for (Started& one : held) engine().cancel(one.ticket);
  for (Started& one : held) EXPECT_EQ(one.outcome.get().end, EndClass::cancelled);
}

TEST_F(EngineTest, AnswersATenantThatHasNoPlaceLeftAndServesTheOthers) {
  options.max_executions = 8;
  options.max_executions_per_tenant = 2;
  ASSERT_TRUE(options.limits.set_value(Limit::queue_wait, 0));
  auto component = load("sleep");
  ASSERT_TRUE(component);
  std::vector<Started> held;
  for (int i = 0; i < 2; ++i) held.push_back(start(*component, invocation()));
  Outcome refused = start(*component, invocation()).outcome.get();
  EXPECT_EQ(refused.end, EndClass::overload);
  EXPECT_TRUE(refused.tenant_busy);
  EXPECT_GE(refused.retry_after_s, 1U);
  EXPECT_EQ(metrics.count("alga_limit_hits_total{executions_per_tenant}"), 1);
  EXPECT_EQ(run("echo", invocation("other")).end, EndClass::ok);
  for (Started& one : held) engine().cancel(one.ticket);
  for (Started& one : held) EXPECT_EQ(one.outcome.get().end, EndClass::cancelled);
}

TEST_F(EngineTest, ShowsWhatRunsAndWhatThePoolHolds) {
  auto component = load("sleep");
  ASSERT_TRUE(component);
  auto comes_to = [this](const std::string& series, double wanted) {
    const SteadyTime end = std::chrono::steady_clock::now() + std::chrono::seconds{10};
    while (metrics.count(series) != wanted && std::chrono::steady_clock::now() < end) {
      std::this_thread::sleep_for(std::chrono::milliseconds{5});
    }
    return metrics.count(series) == wanted;
  };
  std::vector<Started> held;
  for (int i = 0; i < 2; ++i) held.push_back(start(*component, invocation()));
  EXPECT_TRUE(comes_to("alga_executions_running", 2)) << metrics.all();
  EXPECT_TRUE(comes_to("alga_pool_slots_in_use{stacks}", 2)) << metrics.all();
  EXPECT_EQ(metrics.count("alga_guest_memory_peak_bytes"), 0) << "known when they have ended";
  for (Started& one : held) engine().cancel(one.ticket);
  for (Started& one : held) (void)one.outcome.get();
  EXPECT_TRUE(comes_to("alga_executions_running", 0)) << metrics.all();
  EXPECT_TRUE(comes_to("alga_pool_slots_in_use{stacks}", 0)) << metrics.all();
  EXPECT_EQ(metrics.count("alga_guest_memory_peak_bytes"), 2);
}

TEST_F(EngineTest, ReportsWhatAnExecutionUsed) {
  Outcome outcome = run("big-answer");
  EXPECT_GE(outcome.peak_memory_bytes, 20U * 65536U);
  EXPECT_GT(outcome.instantiate_us + outcome.call_us, 0U);
  Invocation how = invocation();
  how.limits.cpu_ms = 30;
  Outcome busy = run("loop", std::move(how));
  EXPECT_GE(busy.cpu_us, 30'000U);
  how = invocation();
  how.limits.wall_ms = 60;
  Outcome idle = run("sleep", std::move(how));
  EXPECT_GE(idle.instantiate_us + idle.call_us, 60'000U) << "what it waits for is part of its call";
  EXPECT_LT(idle.cpu_us, idle.call_us);
}

}  // namespace
}  // namespace alga::engine

/// The engine compiles in a process of its own: this program is that process too.
int main(int argc, char** argv) {
  const std::string_view role = argc > 1 ? argv[1] : "";
  // Without exit handlers, as the worker's filter of system calls forbids what sanitizers do there.
  if (role == "compile-worker") std::_Exit(alga::engine::compile_worker_main());
  if (role == "inspect-worker") std::_Exit(alga::engine::inspect_worker_main());
  if (role == "load-and-wait" && argc == 3) return alga::engine::testing::load_and_wait(argv[2]);
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
