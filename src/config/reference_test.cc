#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <set>
#include <string>

#include "config/config.h"
#include "config/values.h"
#include "domain/limits.h"

namespace alga::config {
namespace {

std::vector<LimitSetting> limits() {
  std::vector<LimitSetting> out;
  for (const domain::LimitInfo& limit : domain::all_limits()) {
    Type type = limit.unit == domain::LimitUnit::bytes          ? Type::size
                : limit.unit == domain::LimitUnit::milliseconds ? Type::duration
                                                                : Type::integer;
    out.push_back(
        {limit.name, type, limit.default_value, limit.minimum, limit.maximum, limit.description});
  }
  return out;
}

TEST(Settings, HaveNamesOfTheirOwnAndValidDefaults) {
  std::set<std::string> names;
  std::set<std::string> variables;
  for (const Setting& setting : all_settings(limits())) {
    EXPECT_TRUE(names.insert(setting.name).second) << setting.name;
    EXPECT_TRUE(variables.insert(setting.environment_name()).second) << setting.name;
    const auto value = read_text(setting, setting.default_text);
    ASSERT_TRUE(value) << setting.name;
    EXPECT_TRUE(faults_of(setting, *value).empty()) << setting.name;
    EXPECT_FALSE(setting.description.empty() || setting.description.ends_with('.')) << setting.name;
    EXPECT_FALSE(setting.description.contains('|')) << setting.name;
  }
  for (const Setting& setting : all_settings(limits())) {
    for (const EnvironmentAlias& alias : setting.aliases) {
      EXPECT_FALSE(variables.contains(alias.name) && setting.environment_name() != alias.name)
          << alias.name << " already means something else";
    }
  }
}

TEST(Settings, KeepEachTableTogether) {
  std::set<std::string> seen;
  std::string table;
  for (const Setting& setting : all_settings(limits())) {
    std::string next = setting.name.substr(0, setting.name.rfind('.'));
    if (next == table) continue;
    table = next;
    EXPECT_TRUE(seen.insert(table).second) << table;
  }
}

TEST(Settings, CoverEveryLimit) {
  Loaded loaded = load(all_settings(limits()), {.environment = {{"ALGA_LIMITS_MEMORY", "128MiB"}}});
  ASSERT_TRUE(loaded.config);
  EXPECT_EQ(loaded.config->size("limits.memory"), 128U << 20U);
  EXPECT_EQ(loaded.config->size("limits.max_memory"), 1U << 30U);
  EXPECT_EQ(loaded.config->number("limits.fetch_calls"), 50U);
}

TEST(Settings, TakeThreeLimitsByTheNamesOfThePlan) {
  Loaded loaded = load(all_settings(limits()), {.environment = {{"MAX_LINEAR_MEMORY", "33554432"},
                                                                {"MAX_COMPONENT_SIZE", "8MiB"},
                                                                {"MAX_COMPONENTS", "17"}}});
  ASSERT_TRUE(loaded.config);
  EXPECT_EQ(loaded.config->size("limits.memory"), 32U << 20U);
  EXPECT_EQ(loaded.config->size("limits.max_memory"), 1U << 30U);
  EXPECT_EQ(loaded.config->size("limits.component_size"), 8U << 20U);
  EXPECT_EQ(loaded.config->number("limits.components_in_memory"), 17U);
  const std::string page = reference_markdown(all_settings(limits()));
  for (const char* name : {"`MAX_LINEAR_MEMORY`", "`MAX_COMPONENT_SIZE`", "`MAX_COMPONENTS`"}) {
    EXPECT_TRUE(page.contains(name)) << name;
  }
}

/// With ALGA_UPDATE_DOCS set, writes the page instead of comparing it.
TEST(Reference, IsWhatStandsInTheDocumentation) {
  std::string path = ALGA_DOCS_DIR "/configuration.md";
  std::string expected = reference_markdown(all_settings(limits()));
  if (std::getenv("ALGA_UPDATE_DOCS") != nullptr) std::ofstream(path) << expected;
  std::ifstream file(path);
  std::string written{std::istreambuf_iterator<char>(file), {}};
  EXPECT_TRUE(written == expected)
      << "docs/configuration.md is old: run config_test with ALGA_UPDATE_DOCS=1";
}

}  // namespace
}  // namespace alga::config
