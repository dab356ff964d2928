#include "base/bytes.h"

#include <gtest/gtest.h>

namespace alga {
namespace {

TEST(Base64, AgreesWithTheVectorsOfRfc4648) {
  const std::pair<std::string_view, std::string_view> vectors[] = {{"", ""},
                                                                   {"f", "Zg=="},
                                                                   {"fo", "Zm8="},
                                                                   {"foo", "Zm9v"},
                                                                   {"foob", "Zm9vYg=="},
                                                                   {"fooba", "Zm9vYmE="},
                                                                   {"foobar", "Zm9vYmFy"}};
  for (auto [plain, encoded] : vectors) {
    EXPECT_EQ(base64_encode(as_bytes(plain)), encoded);
    EXPECT_EQ(base64_decode(encoded), plain);
  }
}

TEST(Base64, RefusesWhatIsNotCanonical) {
  for (std::string_view text :
       {"Zg", "Zg=", "Zh==", "Z===", "Zm9v=", "Zm 9v", "Zm9-", "====", "Zg==Zg=="}) {
    EXPECT_EQ(base64_decode(text), std::nullopt) << text;
  }
}

TEST(Base64, UrlFormIsUnpaddedAndUsesItsOwnAlphabet) {
  EXPECT_EQ(base64url_encode(as_bytes("\xfb\xff")), "-_8");
  EXPECT_EQ(base64url_decode("-_8"), "\xfb\xff");
  EXPECT_EQ(base64url_decode("+/8"), std::nullopt);
  EXPECT_EQ(base64url_decode("A"), std::nullopt);
}

TEST(Hex, GoesBothWays) {
  EXPECT_EQ(hex_encode(as_bytes("\x01\xab")), "01ab");
  EXPECT_EQ(hex_decode("01AB"), "\x01\xab");
  EXPECT_EQ(hex_decode("0"), std::nullopt);
  EXPECT_EQ(hex_decode("0g"), std::nullopt);
}

TEST(Utf8, KnowsIllFormedSequences) {
  EXPECT_TRUE(is_utf8("grüße €😀"));
  for (std::string_view text :
       {"\xC0\xAF", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xE2\x82", "\x80", "\xFF"}) {
    EXPECT_FALSE(is_utf8(text));
  }
}

TEST(Utf8, APrefixNeverCutsACharacter) {
  EXPECT_EQ(utf8_prefix("a€b", 1), "a");
  EXPECT_EQ(utf8_prefix("a€b", 3), "a");
  EXPECT_EQ(utf8_prefix("a€b", 4), "a€");
  EXPECT_EQ(utf8_prefix("a€b", 9), "a€b");
}

TEST(Ascii, TrimsAndComparesWithoutLocale) {
  EXPECT_EQ(trim(" \t x \n"), "x");
  EXPECT_EQ(trim("  "), "");
  EXPECT_TRUE(iequals("Content-TYPE", "content-type"));
  EXPECT_FALSE(iequals("a", "ab"));
}

}  // namespace
}  // namespace alga
