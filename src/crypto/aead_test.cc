#include "crypto/aead.h"

#include <gtest/gtest.h>

#include <string>
#include <type_traits>

namespace alga::crypto {
namespace {

TEST(Aead, OpensWhatItSealed) {
  AeadKey key = AeadKey::generate();
  std::string sealed = seal(key, as_bytes("plain"), as_bytes("context"));
  EXPECT_EQ(sealed.size(), 5 + aead_overhead);
  EXPECT_EQ(sealed.find("plain"), std::string::npos);
  auto opened = open(key, as_bytes(sealed), as_bytes("context"));
  ASSERT_TRUE(opened);
  EXPECT_EQ(opened->reveal_text(), "plain");
}

TEST(Aead, SealsTheSameTextDifferentlyEachTime) {
  AeadKey key = AeadKey::generate();
  EXPECT_NE(seal(key, as_bytes("x"), {}), seal(key, as_bytes("x"), {}));
}

TEST(Aead, RefusesEveryFlippedByte) {
  AeadKey key = AeadKey::generate();
  std::string sealed = seal(key, as_bytes("plain"), as_bytes("context"));
  for (std::size_t i = 0; i < sealed.size(); ++i) {
    std::string altered = sealed;
    altered[i] = static_cast<char>(altered[i] ^ 1);
    auto opened = open(key, as_bytes(altered), as_bytes("context"));
    ASSERT_FALSE(opened) << "byte " << i;
    EXPECT_EQ(opened.error().code, "crypto.open_failed");
  }
}

TEST(Aead, RefusesAnotherKeyContextOrLength) {
  AeadKey key = AeadKey::generate();
  std::string sealed = seal(key, as_bytes("plain"), as_bytes("context"));
  EXPECT_FALSE(open(AeadKey::generate(), as_bytes(sealed), as_bytes("context")));
  EXPECT_FALSE(open(key, as_bytes(sealed), as_bytes("contexT")));
  EXPECT_FALSE(open(key, as_bytes(sealed).first(aead_overhead - 1), as_bytes("context")));
  EXPECT_FALSE(open(key, {}, as_bytes("context")));
}

TEST(Aead, RefusesAKeyOfTheWrongSize) {
  EXPECT_EQ(AeadKey::from_bytes(as_bytes("short")).error().code, "crypto.bad_key");
  EXPECT_TRUE(AeadKey::from_bytes(as_bytes(std::string(32, 'k'))));
}

static_assert(!std::is_copy_constructible_v<AeadKey>);

}  // namespace
}  // namespace alga::crypto
