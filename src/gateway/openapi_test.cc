// The gateway's part of schema/openapi.json is what the gateway serves.

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "gateway/gateway.h"
#include "httpd/testing_openapi.h"

namespace alga::gateway {
namespace {

TEST(OpenApi, NamesExactlyTheRoutesOfTheGateway) {
  ManualClock clock;
  SystemRandom random;
  NoMetrics metrics;
  Gateway gateway({.clock = &clock, .random = &random, .metrics = &metrics, .options = {}});
  httpd::Router router;
  gateway.add_routes(router);
  std::set<std::string> served;
  for (const auto& [method, pattern] : router.routes()) {
    ASSERT_EQ(method, "*") << "an extension takes every method";
    for (const char* one : {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}) {
      served.insert(std::string(one) + " " + httpd::testing::documented_path(pattern));
    }
  }
  EXPECT_EQ(httpd::testing::documented_operations(ALGA_SCHEMA_DIR "/openapi.json", "gateway"),
            served);
}

}  // namespace
}  // namespace alga::gateway
