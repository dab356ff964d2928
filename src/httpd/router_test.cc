#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "httpd/message.h"
#include "httpd/url.h"

namespace alga::httpd {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

async::Task<Response> nothing(Request) { co_return Response{}; }

Router example() {
  Router router;
  router.add("GET", "/", nothing);
  router.add("GET", "/things", nothing);
  router.add("POST", "/things", nothing);
  router.add("GET", "/things/{id}", nothing);
  router.add("GET", "/things/mine", nothing);
  router.add("DELETE", "/things/{thing}", nothing);
  router.add("GET", "/things/{id}/parts/{part}", nothing);
  router.add("*", "/ext/{extension}/{path...}", nothing);
  return router;
}

TEST(Router, PrefersLiteralsToParametersAndTellsTheParameters) {
  const Router router = example();
  EXPECT_EQ(router.match("GET", "/things/mine").pattern, "/things/mine");
  const auto match = router.match("GET", "/things/a%20b/parts/7");
  EXPECT_EQ(match.pattern, "/things/{id}/parts/{part}");
  EXPECT_THAT(match.params, ElementsAre(Pair("id", "a b"), Pair("part", "7")));
  EXPECT_EQ(router.match("GET", "/").pattern, "/");
}

TEST(Router, GoesBackWhenTheLiteralLacksTheMethod) {
  const Router router = example();
  const auto match = router.match("DELETE", "/things/mine");
  EXPECT_EQ(match.pattern, "/things/{thing}");
  EXPECT_THAT(match.params, ElementsAre(Pair("thing", "mine")));
}

TEST(Router, GivesTheRestToTheLastPartForAnyMethod) {
  const Router router = example();
  EXPECT_THAT(router.match("PATCH", "/ext/crm/a/b").params,
              ElementsAre(Pair("extension", "crm"), Pair("path", "a/b")));
  EXPECT_THAT(router.match("GET", "/ext/crm/").params,
              ElementsAre(Pair("extension", "crm"), Pair("path", "")));
  EXPECT_THAT(router.match("GET", "/ext/crm").params,
              ElementsAre(Pair("extension", "crm"), Pair("path", "")));
  EXPECT_EQ(router.match("GET", "/ext").handler, nullptr);
}

TEST(Router, TellsUnknownPathsFromUnknownMethods) {
  const Router router = example();
  const auto unknown = router.match("GET", "/nowhere");
  EXPECT_EQ(unknown.handler, nullptr);
  EXPECT_TRUE(unknown.allowed.empty());
  const auto method = router.match("PUT", "/things");
  EXPECT_EQ(method.handler, nullptr);
  EXPECT_THAT(method.allowed, ElementsAre("GET", "POST", "HEAD"));
  EXPECT_EQ(router.match("GET", "/things/").handler, nullptr);
  EXPECT_EQ(router.match("GET", "/THINGS").handler, nullptr);
}

TEST(Router, LetsHeadUseTheGetRoute) {
  const Router router = example();
  EXPECT_EQ(router.match("HEAD", "/things").pattern, "/things");
}

TEST(Router, PassesOverThePatternsThatAreForAnotherListener) {
  const auto is_internal = [](std::string_view pattern) {
    return pattern.starts_with("/internal/");
  };
  Router router(is_internal);
  router.add("GET", "/internal/keys", nothing);
  router.add("GET", "/things", nothing);
  EXPECT_THAT(router.routes(), ElementsAre(Pair("GET", "/internal/keys")));
  EXPECT_EQ(router.match("GET", "/things").handler, nullptr);
}

TEST(RouterDeathTest, RefusesTheSameRouteTwice) {
  Router router = example();
  EXPECT_DEATH(router.add("GET", "/things", nothing), "");
}

class BadPath : public ::testing::TestWithParam<std::string_view> {};

TEST_P(BadPath, IsRefused) {
  const Status status = check_path(GetParam());
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().code, "http.invalid_path");
}

INSTANTIATE_TEST_SUITE_P(Url, BadPath,
                         ::testing::Values("", "a", "*", "http://host/a", "/..", "/a/../b", "/./a",
                                           "/a/.", "/%2e%2e/a", "/%2E./a", "/.%2e", "/a%2fb",
                                           "/a%2Fb", "/a%5cb", "/a\\b", "/a%00", "/a%0d%0a",
                                           "/a%7f", "/a\tb", "/a b", "/a#b", "/a%", "/a%4", "/a%zz",
                                           "/caf\xc3\xa9", "/%ff", "/%c0%ae%c0%ae/", "/a?b",
                                           std::string_view("/\0a", 3), "/%ed%a0%80"));

class GoodPath : public ::testing::TestWithParam<std::string_view> {};

TEST_P(GoodPath, IsTaken) { EXPECT_TRUE(check_path(GetParam()).has_value()); }

INSTANTIATE_TEST_SUITE_P(Url, GoodPath,
                         ::testing::Values("/", "/a/b", "//", "/a//b/", "/...", "/.well-known/x",
                                           "/a..b", "/%20", "/caf%C3%A9", "/a:b@c;d=1,2!$&'()*+~-_",
                                           "/[x]|y^", "/%252e%252e"));

TEST(Query, IsDecodedLikeAForm) {
  EXPECT_THAT(parse_query("a=1&b=x+y%21&c&=d&&a=2%"),
              ElementsAre(Pair("a", "1"), Pair("b", "x y!"), Pair("c", ""), Pair("", "d"),
                          Pair("a", "2%")));
  EXPECT_EQ(parse_query("a&b&c&d", 2).size(), 2U);
  Request request;
  request.query = "tenant=a%2Fb&tenant=c";
  EXPECT_EQ(request.query_param("tenant"), "a/b");
  EXPECT_EQ(request.query_param("other"), std::nullopt);
}

TEST(Query, RefusesWhatShouldBeEscaped) {
  EXPECT_TRUE(check_query("a=%00&b=<x>").has_value());
  EXPECT_FALSE(check_query("a=\x01").has_value());
  EXPECT_FALSE(check_query("a=\xc3\xa9").has_value());
  EXPECT_FALSE(check_query("a#b").has_value());
}

}  // namespace
}  // namespace alga::httpd
