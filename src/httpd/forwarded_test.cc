#include "httpd/forwarded.h"

#include <gtest/gtest.h>

namespace alga::httpd {
namespace {

class Forwarded : public ::testing::Test {
 protected:
  /// Address and scheme that remain, as `203.0.113.7 https`.
  std::string believed(const std::string& from, const domain::Headers& headers) {
    Peer peer{.address = from};
    believe_proxies(peer, headers, trusted_);
    return peer.address + (peer.secure ? " https" : " http");
  }
  std::vector<domain::Network> trusted_{*domain::parse_network("10.0.0.0/8"),
                                        *domain::parse_network("fd00::/8")};
};

TEST_F(Forwarded, BelievesTrustedProxiesAboutTheirClient) {
  EXPECT_EQ(
      believed("10.1.2.3", {{"X-Forwarded-For", "203.0.113.7"}, {"X-Forwarded-Proto", "https"}}),
      "203.0.113.7 https");
  EXPECT_EQ(believed("::ffff:10.1.2.3", {{"x-forwarded-for", "[2001:db8::1]:4711"}}),
            "2001:db8::1 http");
  EXPECT_EQ(believed("fd00::1", {{"x-forwarded-for", "203.0.113.7:99"}}), "203.0.113.7 http");
}

TEST_F(Forwarded, BelievesNobodyElse) {
  EXPECT_EQ(believed("198.51.100.1",
                     {{"x-forwarded-for", "203.0.113.7"}, {"x-forwarded-proto", "https"}}),
            "198.51.100.1 http");
  trusted_.clear();
  EXPECT_EQ(believed("10.1.2.3", {{"x-forwarded-for", "203.0.113.7"}}), "10.1.2.3 http");
}

TEST_F(Forwarded, StopsAtTheFirstAddressThatNoTrustedProxyHasSeen) {
  EXPECT_EQ(believed("10.1.2.3", {{"x-forwarded-for", "1.1.1.1, 203.0.113.7, 10.9.9.9"}}),
            "203.0.113.7 http")
      << "the client invented the first one";
  EXPECT_EQ(believed("10.1.2.3", {{"x-forwarded-for", "1.1.1.1"}, {"x-forwarded-for", "10.9.9.9"}}),
            "1.1.1.1 http")
      << "two fields are one list";
  EXPECT_EQ(believed("10.1.2.3", {{"x-forwarded-for", "1.1.1.1, unknown, 10.9.9.9"}}),
            "10.9.9.9 http");
  EXPECT_EQ(believed("10.1.2.3", {{"x-forwarded-for", ""}}), "10.1.2.3 http");
  EXPECT_EQ(believed("10.1.2.3", {{"x-forwarded-proto", "https, http"}}), "10.1.2.3 http");
}

TEST_F(Forwarded, SeesThatSomebodyPassedARequestOn) {
  const auto forwarded = [this](const std::string& from, const domain::Headers& headers) {
    Peer peer{.address = from, .socket_address = from};
    believe_proxies(peer, headers, trusted_);
    EXPECT_EQ(peer.socket_address, from) << "nobody changes that";
    return peer.forwarded;
  };
  EXPECT_TRUE(forwarded("10.1.2.3", {})) << "a trusted proxy that says nothing is one, too";
  EXPECT_TRUE(forwarded("::ffff:10.1.2.3", {{"x-forwarded-for", "127.0.0.1"}}));
  for (const char* name : {"X-Forwarded-For", "x-forwarded-proto", "X-FORWARDED-HOST",
                           "x-forwarded-client-cert", "Forwarded", "via", "X-Real-IP"}) {
    EXPECT_TRUE(forwarded("127.0.0.1", {{"accept", "*/*"}, {name, ""}})) << name;
  }
  EXPECT_FALSE(forwarded("127.0.0.1", {}));
  EXPECT_FALSE(
      forwarded("127.0.0.1", {{"host", "x"}, {"x-forwarded", "1"}, {"x-alga-grant", "g"}}));
}

}  // namespace
}  // namespace alga::httpd
