// The runner's part of schema/openapi.json is what the runner serves.

#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>

#include "httpd/testing_openapi.h"
#include "json/parse.h"
#include "runner/execute_json.h"
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

/// The members that the document gives to a schema, and those that it requires.
std::pair<std::set<std::string>, std::set<std::string>> members_of(std::string_view schema) {
  std::ostringstream text;
  text << std::ifstream(ALGA_SCHEMA_DIR "/openapi.json").rdbuf();
  const json::Value document = json::parse(text.str(), {.max_bytes = 4U << 20U}).value();
  const auto& described = document.at("components").at("schemas").at(schema).as_object();
  std::set<std::string> named, required;
  for (const auto& member : described.at("properties").as_object()) named.emplace(member.key());
  for (const auto& name : described.at("required").as_array()) required.emplace(name.as_string());
  return {named, required};
}

TEST(OpenApi, NamesExactlyTheMembersOfAnAnswer) {
  const auto [named, required] = members_of("ExecuteResponse");
  domain::ExecuteResponse answered;
  answered.status = 200;
  answered.body = "x";
  answered.end_class = "ok";
  domain::ExecuteResponse busy;
  busy.status = 503;
  busy.error = "execute_failed: engine.cold";
  busy.code = "engine.cold";
  busy.retry_after_s = 1;
  busy.end_class = "overload";
  std::set<std::string> sent;
  for (const auto& response : {answered, busy}) {
    const json::Value json = json::parse(execute_response_to_json(response, "id")).value();
    std::set<std::string> members;
    for (const auto& member : json.as_object()) members.emplace(member.key());
    for (const std::string& name : required) EXPECT_TRUE(members.contains(name)) << name;
    sent.merge(members);
  }
  EXPECT_EQ(sent, named);
}

}  // namespace
}  // namespace alga::runner
