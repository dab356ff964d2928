// The gateway's part of schema/openapi.json is what the gateway serves.

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>

#include "gateway/gateway.h"
#include "json/parse.h"

namespace alga::gateway {
namespace {

std::set<std::string> documented() {
  std::ifstream file(ALGA_SCHEMA_DIR "/openapi.json");
  std::ostringstream text;
  text << file.rdbuf();
  const json::Value document = json::parse(text.str(), {.max_bytes = 4U << 20U}).value();
  std::set<std::string> operations;
  for (const auto& [path, item] : document.at("paths").as_object()) {
    for (const auto& [method, operation] : item.as_object()) {
      if (operation.at("x-role") != "gateway") continue;
      std::string upper(method);
      std::ranges::transform(upper, upper.begin(), [](unsigned char c) { return std::toupper(c); });
      operations.insert(upper + " " + std::string(path));
    }
  }
  return operations;
}

TEST(OpenApi, NamesExactlyTheRoutesOfTheGateway) {
  ManualClock clock;
  SystemRandom random;
  NoMetrics metrics;
  Gateway gateway({.clock = &clock, .random = &random, .metrics = &metrics, .options = {}});
  httpd::Router router;
  gateway.add_routes(router);
  std::set<std::string> served;
  for (auto [method, pattern] : router.routes()) {
    ASSERT_EQ(method, "*") << "an extension takes every method";
    pattern.replace(pattern.find("{path...}"), 9, "{path}");
    for (const char* one : {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}) {
      served.insert(std::string(one) + " " + pattern);
    }
  }
  EXPECT_EQ(documented(), served);
}

}  // namespace
}  // namespace alga::gateway
