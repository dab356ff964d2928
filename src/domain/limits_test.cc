#include "domain/limits.h"

#include <gtest/gtest.h>

#include <limits>
#include <set>

namespace alga::domain {
namespace {

constexpr std::uint64_t MiB = 1U << 20U;

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

TEST(Limits, StartAtTheArchitecturesDefaults) {
  ServerLimits limits;
  EXPECT_EQ(limits.value(Limit::wall_time), 30'000U);
  EXPECT_EQ(limits.maximum(Limit::wall_time), 120'000U);
  EXPECT_EQ(limits.value(Limit::memory), 256 * MiB);
  EXPECT_EQ(limits.value(Limit::storage_value), 65'536U);
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
