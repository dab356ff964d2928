#include "base/ids.h"

#include <gtest/gtest.h>

namespace alga {
namespace {

TEST(Identifier, RefusesWhatCouldLeaveItsPlaceInAPathOrHeader) {
  for (std::string_view text : {"", "..", ".a", "a/../b", "a/b", "a\\b", "a b", "a\n", "a?b", "a#b",
                                "a%2e", "a..b", "ä", "-a"}) {
    EXPECT_FALSE(TenantId::parse(text)) << text;
  }
  EXPECT_FALSE(TenantId::parse(std::string(129, 'a')));
  EXPECT_TRUE(TenantId::parse(std::string(128, 'a')));
  EXPECT_TRUE(TenantId::parse("acme-corp_1.eu"));
}

TEST(ContentHash, TakesBothSpellingsAndKeepsOne) {
  std::string hex(64, 'A');
  EXPECT_EQ(ContentHash::parse(hex)->hex(), std::string(64, 'a'));
  EXPECT_EQ(ContentHash::parse("sha256:" + hex)->prefixed(), "sha256:" + std::string(64, 'a'));
  EXPECT_FALSE(ContentHash::parse("sha256:" + std::string(63, 'a')));
  EXPECT_FALSE(ContentHash::parse("sha256:../../etc"));
  EXPECT_FALSE(ContentHash::parse(std::string(63, 'a') + "g"));
}

}  // namespace
}  // namespace alga
