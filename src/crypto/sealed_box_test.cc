#include "crypto/sealed_box.h"

#include <gtest/gtest.h>

namespace alga::crypto {
namespace {

TEST(SealedBox, OpensForTheHolderOfThePrivateKeyOnly) {
  const BoxKeyPair mine = BoxKeyPair::generate();
  const BoxKeyPair theirs = BoxKeyPair::generate();
  const auto key = BoxPublicKey::from_base64(mine.public_key().base64());
  ASSERT_TRUE(key);
  const std::string sealed = *key->seal(as_bytes("plaintext"));
  EXPECT_FALSE(sealed.contains("plaintext"));
  EXPECT_EQ(mine.open(as_bytes(sealed))->reveal_text(), "plaintext");
  EXPECT_EQ(theirs.open(as_bytes(sealed)).error().code, "crypto.open_failed");
}

TEST(SealedBox, RefusesEveryAlteredByteAndEveryLength) {
  const BoxKeyPair mine = BoxKeyPair::generate();
  const std::string sealed = *mine.public_key().seal(as_bytes("x"));
  for (std::size_t i = 0; i < sealed.size(); ++i) {
    std::string altered = sealed;
    altered[i] = static_cast<char>(altered[i] ^ 1);
    EXPECT_FALSE(mine.open(as_bytes(altered))) << i;
    EXPECT_FALSE(mine.open(as_bytes(sealed.substr(0, i)))) << i;
  }
}

TEST(SealedBox, IsDifferentEachTime) {
  const BoxKeyPair mine = BoxKeyPair::generate();
  EXPECT_NE(*mine.public_key().seal(as_bytes("x")), *mine.public_key().seal(as_bytes("x")));
}

TEST(SealedBox, RefusesKeysThatAreNone) {
  EXPECT_FALSE(BoxPublicKey::from_base64("AAAA"));
  EXPECT_FALSE(BoxPublicKey::from_base64("not base64"));
  const auto zero = BoxPublicKey::from_base64(base64_encode(std::array<std::uint8_t, 32>{}));
  ASSERT_TRUE(zero);
  EXPECT_EQ(zero->seal(as_bytes("x")).error().code, "crypto.bad_key");
}

}  // namespace
}  // namespace alga::crypto
