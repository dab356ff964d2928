#include "base/token_lines.h"

#include <gtest/gtest.h>

namespace alga {
namespace {

TEST(TokenLines, AcceptEveryLineAndNothingElse) {
  const Secret accepted{"old-token\nnew-token\r\n\nthird"};
  for (const char* token : {"old-token", "new-token", "third"}) {
    EXPECT_TRUE(is_token_of(token, accepted)) << token;
  }
  for (const char* token :
       {"", "old", "old-tokenn", "old-token\nnew-token", "new-token\r", "\n", "Third"}) {
    EXPECT_FALSE(is_token_of(token, accepted)) << token;
  }
}

TEST(TokenLines, AcceptNothingWhereNoneIsSet) {
  EXPECT_FALSE(is_token_of("", Secret{}));
  EXPECT_FALSE(is_token_of("", Secret{"\n"}));
  EXPECT_FALSE(is_token_of("x", Secret{}));
}

TEST(TokenLines, AreKnownWhenOneOfThemIs) {
  for (const char* known : {"local-runner-key", "changeme", "change-me", "secret", "8f0c\nchangeme",
                            "secret\r\n8f0c"}) {
    EXPECT_TRUE(accepts_known_token(Secret{known})) << known;
  }
  for (const char* unknown : {"", "\n", "8f0c", "secrets", "Secret", "change", "secret8f0c"}) {
    EXPECT_FALSE(accepts_known_token(Secret{unknown})) << unknown;
  }
}

TEST(TokenLines, ShowTheFirst) {
  EXPECT_EQ(token_to_show(Secret{"first\nsecond"}).reveal(), "first");
  EXPECT_EQ(token_to_show(Secret{"first\r\nsecond"}).reveal(), "first");
  EXPECT_EQ(token_to_show(Secret{"only"}).reveal(), "only");
  EXPECT_TRUE(token_to_show(Secret{}).empty());
}

}  // namespace
}  // namespace alga
