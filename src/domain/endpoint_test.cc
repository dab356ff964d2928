#include "domain/endpoint.h"

#include <gtest/gtest.h>

#include <vector>

namespace alga::domain {
namespace {

const std::vector<Endpoint> endpoints{
    {"GET", "/tickets/new"}, {"GET", "/tickets/:id"}, {"POST", "/tickets"}, {"GET", "/"},
    {"GET", "/files/:a/*"},  {"HEAD", "/only-head"},
};

std::string matched(std::string_view method, std::string_view path) {
  const Endpoint* endpoint = match_endpoint(endpoints, method, path);
  return endpoint == nullptr ? "" : endpoint->method + " " + endpoint->path;
}

TEST(Endpoint, MatchesLiteralsAndParametersFirstOneFirst) {
  EXPECT_EQ(matched("GET", "/tickets/new"), "GET /tickets/new");
  EXPECT_EQ(matched("GET", "/tickets/7"), "GET /tickets/:id");
  EXPECT_EQ(matched("POST", "/tickets"), "POST /tickets");
  EXPECT_EQ(matched("GET", "/"), "GET /");
  EXPECT_EQ(matched("GET", ""), "GET /");
}

TEST(Endpoint, IgnoresSlashesAtTheEnds) {
  EXPECT_EQ(matched("POST", "tickets/"), "POST /tickets");
  EXPECT_EQ(matched("POST", "//tickets//"), "POST /tickets");
}

TEST(Endpoint, RefusesOtherMethodsAndSegmentCounts) {
  EXPECT_EQ(matched("DELETE", "/tickets"), "");
  EXPECT_EQ(matched("get", "/tickets/7"), "");
  EXPECT_EQ(matched("GET", "/tickets"), "");
  EXPECT_EQ(matched("GET", "/tickets/7/x"), "");
  EXPECT_EQ(matched("POST", "/tickets/7"), "");
}

TEST(Endpoint, DoesNotDecode) { EXPECT_EQ(matched("GET", "/tickets%2F7"), ""); }

TEST(Endpoint, NeedsSomethingInAParameter) {
  EXPECT_EQ(matched("GET", "/files//x"), "");
  EXPECT_EQ(matched("GET", "/files/a/x"), "GET /files/:a/*");
}

TEST(Endpoint, FitsTheRestToAFinalStar) {
  EXPECT_EQ(matched("GET", "/files/a/x/y/z"), "GET /files/:a/*");
  EXPECT_EQ(matched("GET", "/files/a"), "");
  EXPECT_EQ(matched("GET", "/files/a/"), "");
}

TEST(Endpoint, LetsHeadUseWhatIsDeclaredForGet) {
  EXPECT_EQ(matched("HEAD", "/tickets/7"), "GET /tickets/:id");
  EXPECT_EQ(matched("HEAD", "/only-head"), "HEAD /only-head");
  EXPECT_EQ(matched("GET", "/only-head"), "");
}

TEST(Endpoint, NormalisesPaths) {
  EXPECT_EQ(normalise_endpoint_path("a/b/"), "/a/b");
  EXPECT_EQ(normalise_endpoint_path("/"), "/");
}

}  // namespace
}  // namespace alga::domain
