// The runner's part of schema/openapi.json is what the runner serves.

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>

#include "json/parse.h"
#include "runner/runner.h"
#include "runner/static_ui.h"

namespace alga::runner {
namespace {

std::set<std::string> documented(std::string_view role) {
  std::ifstream file(ALGA_SCHEMA_DIR "/openapi.json");
  std::ostringstream text;
  text << file.rdbuf();
  const json::Value document = json::parse(text.str(), {.max_bytes = 4U << 20U}).value();
  std::set<std::string> operations;
  for (const auto& [path, item] : document.at("paths").as_object()) {
    for (const auto& [method, operation] : item.as_object()) {
      if (operation.at("x-role").as_string() != role) continue;
      std::string upper(method);
      std::ranges::transform(upper, upper.begin(), [](unsigned char c) { return std::toupper(c); });
      operations.insert(upper + " " + std::string(path));
    }
  }
  return operations;
}

std::set<std::string> served(const httpd::Router& router) {
  std::set<std::string> operations;
  for (auto [method, pattern] : router.routes()) {
    if (const auto rest = pattern.find("{path...}"); rest != std::string::npos) {
      pattern.replace(rest, 9, "{path}");
    }
    operations.insert(method + " " + pattern);
  }
  return operations;
}

TEST(OpenApi, NamesExactlyTheRoutesOfTheRunnerAndOfItsPages) {
  ManualClock clock;
  SystemRandom random;
  NoMetrics metrics;
  RunnerRole role({}, {.clock = &clock, .random = &random, .metrics = &metrics, .log = {}});
  StaticUi ui({}, {.clock = &clock, .metrics = &metrics});
  httpd::Router router;
  role.add_routes(router);
  ui.add_routes(router);
  EXPECT_EQ(documented("runner"), served(router));
  httpd::Router operational;
  role.add_health_routes(operational);
  std::set<std::string> expected = served(operational);
  expected.insert("GET /metrics");  // of the process, whatever its roles
  EXPECT_EQ(documented("all"), expected);
}

}  // namespace
}  // namespace alga::runner
