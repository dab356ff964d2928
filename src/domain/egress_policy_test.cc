#include "domain/egress_policy.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "domain/egress_url.h"

namespace alga::domain {
namespace {

using Rules = std::vector<std::string>;

EgressPolicy policy(const Rules& rules) {
  auto parsed = EgressPolicy::parse(rules);
  EXPECT_TRUE(parsed) << parsed.error().message;
  return parsed.value_or(EgressPolicy{});
}

std::string verdict(const EgressPolicy& rules, std::string_view url,
                    std::string_view method = "GET") {
  auto target = rules.judge(method, url);
  return target ? target->url : std::string(target.error().code);
}

const std::string denied = "egress.denied";
const std::string invalid = "egress.invalid_url";

TEST(EgressPolicy, DeniesEverythingWhenEmpty) {
  EgressPolicy none = policy({});
  EXPECT_EQ(verdict(none, "https://example.com/"), denied);
  EXPECT_FALSE(none.allows_address(*parse_address("8.8.8.8"), 443));
  EXPECT_TRUE(none.empty());
}

TEST(EgressPolicy, MatchesTheHostExactly) {
  EgressPolicy rules = policy({"https://example.com"});
  EXPECT_EQ(verdict(rules, "https://example.com/a"), "https://example.com/a");
  EXPECT_EQ(verdict(rules, "https://EXAMPLE.com./a"), "https://example.com/a");
  for (const char* url :
       {"https://evil-example.com/", "https://example.com.evil/", "https://a.example.com/",
        "https://example.org/", "https://com/", "https://examplexcom/"}) {
    EXPECT_EQ(verdict(rules, url), denied) << url;
  }
}

TEST(EgressPolicy, MatchesAWildcardAtAnyDepthButNotTheApex) {
  EgressPolicy rules = policy({"https://*.example.com"});
  EXPECT_EQ(verdict(rules, "https://a.example.com/"), "https://a.example.com/");
  EXPECT_EQ(verdict(rules, "https://a.b.example.com/"), "https://a.b.example.com/");
  EXPECT_EQ(verdict(rules, "https://example.com/"), denied);
  EXPECT_EQ(verdict(rules, "https://evilexample.com/"), denied);
  EXPECT_EQ(verdict(rules, "https://.example.com/"), invalid);
}

TEST(EgressPolicy, MatchesSchemeAndPort) {
  EgressPolicy rules = policy({"https://example.com", "http://example.com:8080"});
  EXPECT_EQ(verdict(rules, "https://example.com:443/"), "https://example.com/");
  EXPECT_EQ(verdict(rules, "http://example.com:8080/"), "http://example.com:8080/");
  EXPECT_EQ(verdict(rules, "http://example.com/"), denied);
  EXPECT_EQ(verdict(rules, "https://example.com:8443/"), denied);
  EXPECT_EQ(verdict(rules, "https://example.com:80/"), denied);
}

TEST(EgressPolicy, MatchesTheMethodWhenARuleNamesOne) {
  EgressPolicy rules = policy({"GET https://example.com"});
  EXPECT_EQ(verdict(rules, "https://example.com/"), "https://example.com/");
  EXPECT_EQ(verdict(rules, "https://example.com/", "POST"), denied);
  EXPECT_EQ(verdict(rules, "https://example.com/", "get"), denied);
  EXPECT_EQ(verdict(rules, "https://example.com/", "GE T"), invalid);
  EXPECT_EQ(verdict(rules, "https://example.com/", ""), invalid);
}

TEST(EgressPolicy, NeverAllowsTunnelsAndTraces) {
  EgressPolicy rules = policy({"https://example.com"});
  EXPECT_EQ(verdict(rules, "https://example.com/", "CONNECT"), denied);
  EXPECT_EQ(verdict(rules, "https://example.com/", "trace"), denied);
}

TEST(EgressPolicy, MatchesAPathPrefixAtSegmentBorders) {
  EgressPolicy rules = policy({"https://example.com/v1", "https://example.com/dir/"});
  EXPECT_EQ(verdict(rules, "https://example.com/v1"), "https://example.com/v1");
  EXPECT_EQ(verdict(rules, "https://example.com/v1/x?q=1"), "https://example.com/v1/x?q=1");
  EXPECT_EQ(verdict(rules, "https://example.com/dir/x"), "https://example.com/dir/x");
  for (const char* url :
       {"https://example.com/v10", "https://example.com/dir", "https://example.com/V1",
        "https://example.com/", "https://example.com/v1/../v2", "https://example.com/v1/%2e%2e/v2",
        "https://example.com/v1/.%2E/v2", "https://example.com/v1/..%2fv2",
        "https://example.com/v1/%252e%252e/v2", "https://example.com/v1/..%5cv2",
        "https://example.com/v1//x", "https://example.com//v1/x"}) {
    EXPECT_EQ(verdict(rules, url), denied) << url;
  }
  EXPECT_EQ(verdict(rules, "https://example.com/x/../v1/y"), "https://example.com/v1/y");
}

TEST(EgressPolicy, LeavesEncodedSeparatorsAloneWithoutAPathRule) {
  EgressPolicy rules = policy({"https://gitlab.example"});
  EXPECT_EQ(verdict(rules, "https://gitlab.example/api/projects/group%2Fproject"),
            "https://gitlab.example/api/projects/group%2Fproject");
}

TEST(EgressPolicy, RefusesEveryOtherSpellingOfAnAddress) {
  EgressPolicy rules = policy({"http://*", "https://*"});
  for (const char* host : {"2130706433",
                           "0177.0.0.1",
                           "0x7f000001",
                           "0x7f.0.0.1",
                           "127.1",
                           "127.0.1",
                           "127.0.0.1.",
                           "127.0.0.01",
                           "1.2.3.256",
                           "1.2.3.4.5",
                           "0x",
                           "a.0x",
                           "a.1",
                           "a.123.",
                           "%31%32%37.0.0.1",
                           "127.0.0.%31",
                           "[fe80::1%25eth0]",
                           "[fe80::1%eth0]",
                           "[v1.x]",
                           "[::1",
                           "::1",
                           "\xEF\xBC\x91\xEF\xBC\x92\xEF\xBC\x97.0.0.1",
                           "ex\xC3\xA4mple.com",
                           "ex%61mple.com",
                           "a..b",
                           ".a",
                           "a_b..c",
                           "-a.com",
                           "a-.com",
                           "",
                           ".",
                           "a b.com",
                           "a\tb.com",
                           "a\\b.com",
                           "exa\nmple.com"}) {
    EXPECT_EQ(verdict(rules, "http://" + std::string(host) + "/"), invalid) << host;
  }
}

TEST(EgressPolicy, AcceptsInternationalNamesInTheirAsciiForm) {
  EXPECT_EQ(verdict(policy({"https://xn--exmple-cua.com"}), "https://XN--exmple-cua.com/"),
            "https://xn--exmple-cua.com/");
}

TEST(EgressPolicy, DeniesLiteralAddressesThatAreNotPublicEvenWithAnyHost) {
  EgressPolicy rules = policy({"http://*", "http://127.0.0.1", "http://[::1]"});
  for (const char* host : {"127.0.0.1",
                           "0.0.0.0",
                           "10.1.2.3",
                           "100.64.0.1",
                           "169.254.169.254",
                           "172.16.0.1",
                           "192.168.1.1",
                           "192.0.0.1",
                           "198.18.0.1",
                           "224.0.0.1",
                           "240.0.0.1",
                           "255.255.255.255",
                           "[::1]",
                           "[::]",
                           "[::ffff:127.0.0.1]",
                           "[::ffff:7f00:1]",
                           "[::127.0.0.1]",
                           "[64:ff9b::7f00:1]",
                           "[2002:7f00:1::]",
                           "[2001:0:1::1]",
                           "[fe80::1]",
                           "[fd00:ec2::254]",
                           "[FC00::1]"}) {
    EXPECT_EQ(verdict(rules, "http://" + std::string(host) + "/"), denied) << host;
  }
  EXPECT_EQ(verdict(rules, "http://8.8.8.8/"), "http://8.8.8.8/");
  EXPECT_EQ(verdict(rules, "http://[2606:4700:0:0::1111]/"), "http://[2606:4700::1111]/");
}

TEST(EgressPolicy, RefusesUserinfoAndWhatHidesTheHost) {
  EgressPolicy rules = policy({"https://allowed.com"});
  for (const char* url : {"https://allowed.com@evil.com/",
                          "https://user:pw@allowed.com/",
                          "https://@allowed.com/",
                          "https://allowed.com\\@evil.com/",
                          "https:\\\\allowed.com/",
                          "https:/allowed.com/",
                          "https:allowed.com",
                          "//allowed.com/",
                          "/path",
                          "allowed.com",
                          "",
                          " https://allowed.com/",
                          "https://allowed.com/a b",
                          "https://allowed.com/a\tb",
                          "https://allowed.com/a\r\nX: y",
                          "https://allowed.com/\x7F",
                          "https://allowed.com/a\\b",
                          "https://allowed.com/%zz",
                          "https://allowed.com/%",
                          "https://allowed.com:0/",
                          "https://allowed.com:65536/",
                          "https://allowed.com:99999999999999999999/",
                          "https://allowed.com:-1/",
                          "https://allowed.com:8o/",
                          "file:///etc/passwd",
                          "gopher://allowed.com/",
                          "ws://allowed.com/",
                          "javascript://allowed.com/",
                          "https://\xFF/"}) {
    EXPECT_EQ(verdict(rules, url), invalid) << url;
  }
  EXPECT_EQ(verdict(rules, "https://allowed.com#@evil.com/"), "https://allowed.com/");
  EXPECT_EQ(verdict(rules, "https://allowed.com?@evil.com/"), "https://allowed.com/?@evil.com/");
  EXPECT_EQ(verdict(rules, "https://evil.com#@allowed.com/"), denied);
  EXPECT_EQ(verdict(rules, "https://evil.com?.allowed.com/"), denied);
}

TEST(EgressPolicy, RefusesAnEnormousUrl) {
  EgressPolicy rules = policy({"https://a.com"});
  EXPECT_EQ(verdict(rules, "https://a.com/" + std::string(20'000, 'a')), invalid);
  EXPECT_EQ(verdict(rules, "https://" + std::string(300, 'a') + ".com/"), invalid);
}

TEST(EgressPolicy, RebuildsTheUrlThatIsDialled) {
  EgressPolicy rules = policy({"https://api.example.com"});
  EXPECT_EQ(verdict(rules, "HTTPS://API.example.COM:/a/./b/%7euser?filter[name]=x|y#fragment"),
            "https://api.example.com/a/b/~user?filter%5Bname%5D=x%7Cy");
  EXPECT_EQ(verdict(rules, "https://api.example.com"), "https://api.example.com/");
  EXPECT_EQ(verdict(rules, "https://api.example.com/\xC3\xA4"), "https://api.example.com/%C3%A4");
  EXPECT_EQ(verdict(rules, "https://api.example.com//a"), "https://api.example.com//a");
  EXPECT_EQ(verdict(rules, "https://api.example.com/?"), "https://api.example.com/?");
}

TEST(EgressPolicy, IsStableUnderItsOwnOutput) {
  EgressPolicy rules = policy({"https://*"});
  for (const char* url : {"https://a.com/%2e%2e/x/..//y?%41=%e4#z", "https://a.com/.//b/%2F/%25",
                          "https://a.com/a/b/../../..//c", "https://a.com/%7E%2e"}) {
    std::string once = verdict(rules, url);
    EXPECT_EQ(verdict(rules, once), once) << url;
  }
}

TEST(EgressPolicy, TargetsCarryTheirParts) {
  auto target =
      policy({"http://[2606:4700::1111]:8080"}).judge("GET", "http://[2606:4700::1111]:8080/x");
  ASSERT_TRUE(target);
  EXPECT_EQ(target->host, "2606:4700::1111");
  EXPECT_EQ(target->port, 8080);
  EXPECT_EQ(target->scheme, "http");
}

TEST(EgressPolicy, AllowsPrivateAddressesOnlyByTheirNetworkAndPort) {
  EgressPolicy rules = policy({"http://service.internal:8081", "cidr:127.0.0.1/32:8081"});
  EXPECT_TRUE(rules.allows_address(*parse_address("127.0.0.1"), 8081));
  EXPECT_TRUE(rules.allows_address(*parse_address("::ffff:127.0.0.1"), 8081));
  EXPECT_FALSE(rules.allows_address(*parse_address("127.0.0.1"), 8082));
  EXPECT_FALSE(rules.allows_address(*parse_address("127.0.0.2"), 8081));
  EXPECT_FALSE(rules.allows_address(*parse_address("64:ff9b::7f00:1"), 8081));
  EXPECT_TRUE(rules.allows_address(*parse_address("8.8.8.8"), 443));
  EXPECT_FALSE(rules.allows_address(*parse_address("8.8.8.8"), 0));
}

TEST(EgressPolicy, TakesANetworkRuleForItsLiteralAddresses) {
  EgressPolicy rules = policy({"cidr:127.0.0.1/32:8081", "cidr:fd00::/8"});
  EXPECT_EQ(verdict(rules, "http://127.0.0.1:8081/x"), "http://127.0.0.1:8081/x");
  EXPECT_EQ(verdict(rules, "http://127.0.0.1/x"), denied);
  EXPECT_EQ(verdict(rules, "http://localhost:8081/x"), denied);
  EXPECT_EQ(verdict(rules, "https://[fd00::1]/"), "https://[fd00::1]/");
  EXPECT_EQ(verdict(rules, "http://8.8.8.8/"), denied);
}

TEST(EgressPolicy, AllowsMetadataAddressesOnlyOneByOne) {
  EXPECT_FALSE(
      policy({"cidr:169.254.0.0/16"}).allows_address(*parse_address("169.254.169.254"), 80));
  EXPECT_FALSE(
      policy({"cidr:64:ff9b::/96"}).allows_address(*parse_address("64:ff9b::169.254.169.254"), 80))
      << "through a gateway of NAT64";
  EXPECT_TRUE(policy({"cidr:169.254.0.0/16"}).allows_address(*parse_address("169.254.1.1"), 80));
  EXPECT_TRUE(
      policy({"cidr:169.254.169.254/32"}).allows_address(*parse_address("169.254.169.254"), 80));
}

TEST(EgressPolicy, RefusesRulesItCannotKeep) {
  for (const char* rule : {"",
                           "api.example.com",
                           "https://",
                           "https://api.*.com",
                           "https://a*.com",
                           "https://*a.com",
                           "https://*.*.com",
                           "https://**",
                           "https://user:pw@example.com",
                           "file:///etc",
                           "ftp://a.com",
                           "https://a.com?x=1",
                           "https://a.com#x",
                           "get https://a.com",
                           "CONNECT https://a.com",
                           "GET  ",
                           "https://a.com:0",
                           "https://a.com:65536",
                           "https://127.1",
                           "https://*.127.0.0.1",
                           "https://*.1.2.3.4",
                           "https://a.com/a//b",
                           "https://a.com/a%2Fb",
                           "https://a.com/%252e",
                           "https://a.com/x/../y",
                           "https://a.com/%2e%2E/y",
                           "cidr:",
                           "cidr:10.0.0.0",
                           "cidr:10.0.0.1/8",
                           "cidr:0.0.0.0/0",
                           "cidr:10.0.0.0/7",
                           "cidr:::/0",
                           "cidr:10.0.0.0/8:0",
                           "cidr:10.0.0.0/8:",
                           "cidr:10.0.0.0/8:65536",
                           "cidr:10.0.0.0/8:80x",
                           "cidr:example.com/8",
                           "https://ex\xC3\xA4mple.com",
                           "*"}) {
    auto parsed = EgressPolicy::parse({"https://ok.com", rule});
    ASSERT_FALSE(parsed) << rule;
    EXPECT_EQ(parsed.error().code, "egress.invalid_rule");
    EXPECT_TRUE(parsed.error().message.starts_with("rule 2: ")) << parsed.error().message;
    EXPECT_EQ(parsed.error().message.find("pw@"), std::string::npos);
  }
  EXPECT_FALSE(EgressPolicy::parse(Rules(201, "https://a.com")));
}

TEST(EgressPolicy, NeedsAnOperatorForNetworksAndAnyHost) {
  EXPECT_FALSE(policy({"https://a.com", "https://*.a.com"}).needs_operator());
  EXPECT_TRUE(policy({"cidr:10.0.0.0/8"}).needs_operator());
  EXPECT_TRUE(policy({"https://*"}).needs_operator());
  EXPECT_TRUE(policy({"https://*:8443/x"}).needs_operator());
}

TEST(EgressPolicy, HasOneDigestForOneMeaning) {
  EXPECT_EQ(policy({"https://B.com:443/", "https://a.com", "https://a.com."}).digest(),
            policy({"https://a.com", "https://b.com"}).digest());
  EXPECT_NE(policy({"https://a.com"}).digest(), policy({"http://a.com"}).digest());
  EXPECT_NE(policy({"https://a.com"}).digest(), policy({"GET https://a.com"}).digest());
  EXPECT_NE(policy({"https://a.com"}).digest(), policy({"https://*.a.com"}).digest());
  EXPECT_NE(policy({}).digest(), policy({"https://a.com"}).digest());
}

TEST(EgressPolicy, WritesRulesThatItReadsBack) {
  Rules rules{"GET https://*.example.org:8443/v1/",
              "cidr:10.0.0.0/8:80",
              "cidr:fd00::/8",
              "http://[2606:4700::1]/x",
              "https://*",
              "https://example.com/.well-known/"};
  EXPECT_EQ(policy(rules).rules(), rules);
  EXPECT_EQ(policy(policy(rules).rules()).digest(), policy(rules).digest());
}

TEST(EgressPolicy, WarnsOfWildcardsBelowPublicSuffixes) {
  EXPECT_EQ(policy({"https://*.co.uk"}).warnings().size(), 1U);
  EXPECT_EQ(policy({"https://*.s3.amazonaws.com"}).warnings().size(), 1U);
  EXPECT_EQ(policy({"https://*.com"}).warnings().size(), 1U);
  EXPECT_EQ(policy({"https://*"}).warnings().size(), 1U);
  EXPECT_EQ(policy({"http://plain.example.com"}).warnings().size(), 1U);
  EXPECT_TRUE(policy({"https://*.example.co.uk", "https://api.github.com"}).warnings().empty());
}

}  // namespace
}  // namespace alga::domain
