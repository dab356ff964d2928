#include "domain/limits.h"

#include <gtest/gtest.h>

#include <array>
#include <limits>
#include <optional>
#include <set>

namespace alga::domain {
namespace {

constexpr std::uint64_t KiB = 1U << 10U;
constexpr std::uint64_t MiB = 1U << 20U;
constexpr std::uint64_t seconds = 1'000;

std::string code_of(std::string_view text) {
  auto limits = parse_requested_limits(json::parse(text).value(), "/limits");
  return limits ? "" : std::string(limits.error().code);
}

TEST(Limits, HaveNamesOfTheirOwn) {
  std::set<std::string_view> names;
  for (const LimitInfo& limit : all_limits()) {
    EXPECT_TRUE(names.insert(limit.name).second) << limit.name;
    EXPECT_EQ(parse_limit(limit.name), limit.limit);
    EXPECT_FALSE(limit.code.empty());
    EXPECT_FALSE(limit.description.empty());
  }
  EXPECT_FALSE(parse_limit("nothing"));
}

/// Written down a second time, apart from the source: what an operator may rely on. Without a
/// maximum where the architecture leaves it to the machine or the install.
struct Promised {
  Limit limit;
  std::uint64_t value;
  std::optional<std::uint64_t> maximum;
};
constexpr auto promised = std::to_array<Promised>({
    {Limit::wall_time, 30 * seconds, 120 * seconds},
    {Limit::cpu_time, 5 * seconds, 60 * seconds},
    {Limit::memory, 256 * MiB, 1024 * MiB},
    {Limit::table_elements, 20'000, 100'000},
    {Limit::component_size, 64 * MiB, 256 * MiB},
    {Limit::components_in_memory, 256, {}},
    {Limit::components_on_disk, 10'000, {}},
    {Limit::request_body, 10 * MiB, 64 * MiB},
    {Limit::response_body, 10 * MiB, 64 * MiB},
    {Limit::header_count, 100, 400},
    {Limit::header_bytes, 64 * KiB, 256 * KiB},
    {Limit::fetch_calls, 50, 1'000},
    {Limit::fetch_response, 10 * MiB, 64 * MiB},
    {Limit::fetch_time, 30 * seconds, 120 * seconds},
    {Limit::ui_payload, 10 * MiB, 64 * MiB},
    {Limit::host_calls, 10'000, 1'000'000},
    {Limit::host_bytes, 64 * MiB, 1024 * MiB},
    {Limit::log_line, 8 * KiB, 128 * KiB},
    {Limit::log_lines, 1'000, 16'000},
    {Limit::log_bytes, 1 * MiB, 16 * MiB},
    {Limit::stdio_bytes, 256 * KiB, 4 * MiB},
    {Limit::bundle_archive, 64 * MiB, 200 * MiB},
    {Limit::bundle_unpacked, 256 * MiB, 1024 * MiB},
    {Limit::bundle_entries, 10'000, 50'000},
    {Limit::storage_value, 64 * KiB, {}},
    {Limit::storage_metadata, 4 * KiB, {}},
    {Limit::storage_bulk_items, 20, {}},
    {Limit::storage_bulk_bytes, 512 * KiB, {}},
    {Limit::storage_namespaces, 32, {}},
    {Limit::storage_keys, 5'120, {}},
    {Limit::storage_bytes, 256 * MiB, {}},
    {Limit::executions, 256, {}},
    {Limit::executions_per_tenant, 0, {}},
    {Limit::executions_per_install, 0, {}},
    {Limit::queue_wait, 1 * seconds, {}},
});

TEST(Limits, StartAtTheArchitecturesDefaults) {
  const ServerLimits limits;
  std::set<Limit> seen;
  for (const Promised& it : promised) {
    EXPECT_TRUE(seen.insert(it.limit).second) << info(it.limit).name;
    EXPECT_EQ(limits.value(it.limit), it.value) << info(it.limit).name;
    if (it.maximum) EXPECT_EQ(limits.maximum(it.limit), *it.maximum) << info(it.limit).name;
  }
  EXPECT_EQ(seen.size(), limit_count) << "every limit stands in the table";
}

TEST(Limits, MayBeRaisedToTheirMaximumAndNoFurther) {
  for (const LimitInfo& limit : all_limits()) {
    ServerLimits limits;
    EXPECT_TRUE(limits.set_value(limit.limit, limit.maximum)) << limit.name;
    EXPECT_EQ(limits.value(limit.limit), limit.maximum) << limit.name;
    EXPECT_FALSE(limits.set_value(limit.limit, limit.maximum + 1)) << limit.name;
    EXPECT_FALSE(limits.set_maximum(limit.limit, limit.maximum + 1)) << limit.name;
    EXPECT_EQ(limits.maximum(limit.limit), limit.maximum) << limit.name;
  }
}

TEST(Limits, RefuseValuesOutsideTheTable) {
  ServerLimits limits;
  EXPECT_EQ(limits.set_value(Limit::wall_time, 0).error().code, "limit.out_of_range");
  EXPECT_EQ(limits.set_value(Limit::wall_time, 120'001).error().code, "limit.out_of_range");
  EXPECT_EQ(limits.set_maximum(Limit::memory, 1).error().code, "limit.out_of_range");
  EXPECT_EQ(limits.set_maximum(Limit::memory, UINT64_MAX).error().code, "limit.out_of_range");
  EXPECT_TRUE(limits.set_value(Limit::fetch_calls, 0));
}

TEST(Limits, KeepTheValueBelowTheMaximumInEitherOrder) {
  ServerLimits first;
  EXPECT_TRUE(first.set_value(Limit::wall_time, 60'000));
  EXPECT_TRUE(first.set_maximum(Limit::wall_time, 10'000));
  EXPECT_EQ(first.value(Limit::wall_time), 10'000U);
  ServerLimits second;
  EXPECT_TRUE(second.set_maximum(Limit::wall_time, 10'000));
  EXPECT_TRUE(second.set_value(Limit::wall_time, 60'000));
  EXPECT_EQ(second.value(Limit::wall_time), 10'000U);
}

TEST(RequestedLimits, AreWholeNumbersFromOne) {
  EXPECT_EQ(code_of("{}"), "");
  EXPECT_EQ(code_of(R"({"timeout_ms":null,"memory_mb":1,"fuel":18446744073709551615})"), "");
  for (const char* text :
       {R"({"timeout_ms":0})", R"({"timeout_ms":-1})", R"({"timeout_ms":1.5})",
        R"({"timeout_ms":1.0})", R"({"timeout_ms":1e3})", R"({"timeout_ms":1e300})",
        R"({"timeout_ms":"1"})", R"({"memory_mb":0})", R"({"fuel":true})", R"([])", "null"}) {
    EXPECT_EQ(code_of(text), "limit.invalid") << text;
  }
}

TEST(EffectiveLimits, AreTheServersWhenNobodyAsks) {
  ExecutionLimits limits = effective_limits({}, {}, {});
  EXPECT_EQ(limits.wall_ms, 30'000U);
  EXPECT_EQ(limits.cpu_ms, 5'000U);
  EXPECT_EQ(limits.memory_bytes, 256 * MiB);
}

TEST(EffectiveLimits, LetAnInstallReachTheMaximumAndARequestOnlyAskForLess) {
  RequestedLimits install{.timeout_ms = 90'000, .memory_mb = 512};
  EXPECT_EQ(effective_limits({}, install, {}).wall_ms, 90'000U);
  EXPECT_EQ(effective_limits({}, install, {}).memory_bytes, 512 * MiB);
  EXPECT_EQ(effective_limits({}, install, {.timeout_ms = 100'000}).wall_ms, 90'000U);
  EXPECT_EQ(effective_limits({}, install, {.timeout_ms = 10}).wall_ms, 10U);
  EXPECT_EQ(effective_limits({}, {}, {.timeout_ms = 60'000}).wall_ms, 30'000U);
  EXPECT_EQ(effective_limits({}, {}, {.timeout_ms = 60'000}, true).wall_ms, 60'000U);
}

TEST(EffectiveLimits, ClampTheAbsurdAndNeverGiveNothing) {
  constexpr std::uint64_t absurd = std::numeric_limits<std::uint64_t>::max();
  RequestedLimits wish{.timeout_ms = absurd, .memory_mb = absurd, .fuel = absurd};
  for (bool raise : {false, true}) {
    ExecutionLimits limits = effective_limits({}, wish, wish, raise);
    EXPECT_EQ(limits.wall_ms, 120'000U);
    EXPECT_EQ(limits.cpu_ms, 60'000U);
    EXPECT_EQ(limits.memory_bytes, 1024 * MiB);
  }
  ExecutionLimits least = effective_limits({}, {}, {.timeout_ms = 1, .memory_mb = 1, .fuel = 1});
  EXPECT_EQ(least.wall_ms, 1U);
  EXPECT_EQ(least.cpu_ms, 1U);
  EXPECT_EQ(least.memory_bytes, MiB);
}

TEST(EffectiveLimits, TurnFuelIntoCpuTime) {
  EXPECT_EQ(effective_limits({}, {}, {.fuel = 2'000 * fuel_per_cpu_ms}).cpu_ms, 2'000U);
}

}  // namespace
}  // namespace alga::domain
