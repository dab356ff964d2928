#include "control_plane/openapi.h"

#include <set>

#include "control_plane/testing.h"
#include "json/parse.h"

namespace alga::control_plane {
namespace {

class OpenApi : public ::testing::Test {
 protected:
  OpenApi() : platform_(*sql::open_database("sqlite:" + folder_.path() + "/test.db")) {}
  static json::Value document() { return json::parse(openapi_document()).value(); }
  static std::string required_query(const boost::json::object& operation) {
    std::string query;
    const auto* list = operation.if_contains("parameters");
    for (const auto& one : list == nullptr ? boost::json::array() : list->as_array()) {
      if (one.at("in") != "query" || !one.at("required").as_bool()) continue;
      query += (query.empty() ? "?" : "&") + std::string(one.at("name").as_string()) + "=x";
    }
    return query;
  }
  sql::testing::TemporaryFolder folder_;
  testing::Platform platform_;
};

TEST_F(OpenApi, NamesExactlyTheRoutesThatAreServed) {
  std::set<std::string> documented;
  for (const auto& [path, item] : document().at("paths").as_object()) {
    for (const auto& [method, operation] : item.as_object()) {
      if (operation.at("x-role") != "control-plane") continue;
      std::string upper(method);
      std::ranges::transform(upper, upper.begin(), [](unsigned char c) { return std::toupper(c); });
      documented.insert(upper + " " + std::string(path));
    }
  }
  std::set<std::string> served;
  for (const auto& [method, pattern] : platform_.router().routes()) {
    served.insert(method + " " + pattern);
  }
  EXPECT_EQ(documented, served);
}

TEST_F(OpenApi, RefersToSchemasThatExist) {
  json::Value whole = document();
  auto check = [&](auto& self, const json::Value& value) -> void {
    if (value.is_array()) {
      for (const auto& item : value.get_array()) self(self, item);
    } else if (value.is_object()) {
      for (const auto& [name, member] : value.get_object()) {
        if (name == "$ref") {
          boost::system::error_code error;
          EXPECT_NE(whole.find_pointer(std::string(member.as_string()).substr(1), error), nullptr)
              << member;
        }
        self(self, member);
      }
    }
  };
  check(check, whole);
}

TEST_F(OpenApi, RefusesCallersWithoutATokenWhereItSaysSo) {
  for (const auto& [path, item] : document().at("paths").as_object()) {
    for (const auto& [method, operation] : item.as_object()) {
      if (operation.at("x-role") != "control-plane") continue;
      std::string upper(method);
      std::ranges::transform(upper, upper.begin(), [](unsigned char c) { return std::toupper(c); });
      std::string concrete(path);
      for (std::size_t at = concrete.find('{'); at != std::string::npos; at = concrete.find('{')) {
        concrete.replace(at, concrete.find('}') - at + 1, "1");
      }
      bool open = operation.at("security").as_array().empty();
      const auto* body = operation.as_object().if_contains("requestBody");
      bool of_json =
          body != nullptr && body->at("content").as_object().contains("application/json");
      concrete += required_query(operation.as_object());
      // Whoever is nobody is not told what is wrong with a body, either.
      auto reply =
          platform_.send_as({}, upper, concrete, body == nullptr ? "" : "[]", "", {},
                            of_json ? testing::Form::malformed : testing::Form::documented);
      EXPECT_EQ(reply.status, open ? 200 : 401) << upper << " " << concrete;
    }
  }
}

TEST_F(OpenApi, IsServed) {
  auto reply = platform_.call("GET", "/api/v1/openapi.json", "");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.string("/openapi"), "3.1.0");
}

}  // namespace
}  // namespace alga::control_plane
