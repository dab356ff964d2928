#include "domain/semver.h"

#include <gtest/gtest.h>

#include <vector>

namespace alga::domain {
namespace {

TEST(SemVer, ReadsAndWritesVersions) {
  for (const char* text : {"0.0.0", "1.2.3", "10.20.30", "1.0.0-alpha", "1.0.0-alpha.1",
                           "1.0.0-0.3.7", "1.0.0-x-y-z.--", "1.0.0+001", "1.0.0-a+b.c-d", "1.2.*",
                           "9007199254740991.0.0", "1.0.0--"}) {
    auto version = SemVer::parse(text);
    ASSERT_TRUE(version) << text;
    EXPECT_EQ(version->str(), text);
  }
}

TEST(SemVer, RefusesEverythingElse) {
  for (const char* text : {"",
                           "1",
                           "1.2",
                           "1.2.3.4",
                           "v1.2.3",
                           "01.2.3",
                           "1.02.3",
                           "1.2.03",
                           "1.2.3-",
                           "1.2.3+",
                           "1.2.3-a..b",
                           "1.2.3-.a",
                           "1.2.3-a.",
                           "1.2.3-01",
                           "1.2.3+a..b",
                           "1.2.3+.",
                           "1.2.3-a_b",
                           "1.2.x",
                           "1.*.*",
                           "*",
                           "1.2.*-a",
                           "1.2.*+a",
                           " 1.2.3",
                           "1.2.3 ",
                           "1.2.3\n",
                           "-1.2.3",
                           "1.2.3+a+b",
                           "9007199254740992.0.0",
                           "99999999999999999999.0.0",
                           "1..3",
                           ".1.2"}) {
    EXPECT_FALSE(SemVer::parse(text)) << text;
  }
  EXPECT_FALSE(SemVer::parse("1.0.0-" + std::string(128, 'a')));
}

TEST(SemVer, OrdersAsTheStandardSays) {
  const std::vector<const char*> ascending{"1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta",
                                           "1.0.0-beta",  "1.0.0-beta.2",  "1.0.0-beta.11",
                                           "1.0.0-rc.1",  "1.0.0",         "1.0.1",
                                           "1.1.0",       "1.10.0",        "2.0.0",
                                           "10.0.0"};
  for (std::size_t i = 0; i < ascending.size(); ++i) {
    for (std::size_t j = 0; j < ascending.size(); ++j) {
      EXPECT_EQ(SemVer::parse(ascending[i])->compare(*SemVer::parse(ascending[j])), i <=> j)
          << ascending[i] << " and " << ascending[j];
    }
  }
  EXPECT_EQ(SemVer::parse("1.0.0+a")->compare(*SemVer::parse("1.0.0+b")),
            std::strong_ordering::equal);
}

}  // namespace
}  // namespace alga::domain
