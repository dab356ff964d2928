// The runner's part of schema/openapi.json is what the runner serves.

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <string_view>

#include "httpd/testing_openapi.h"
#include "runner/runner.h"
#include "runner/static_ui.h"

namespace alga::runner {
namespace {

std::set<std::string> documented(std::string_view role) {
  return httpd::testing::documented_operations(ALGA_SCHEMA_DIR "/openapi.json", role);
}

std::set<std::string> served(const httpd::Router& router) {
  std::set<std::string> operations;
  for (const auto& [method, pattern] : router.routes()) {
    operations.insert(method + " " + httpd::testing::documented_path(pattern));
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
