#include "crypto/sign.h"

#include <gtest/gtest.h>

#include <string>
#include <type_traits>

namespace alga::crypto {
namespace {

TEST(Ed25519, AgreesWithRfc8032Test2) {
  auto seed = hex_decode("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
  ASSERT_TRUE(seed);
  auto key = SigningKey::from_seed(as_bytes(*seed));
  ASSERT_TRUE(key);
  EXPECT_EQ(hex_encode(key->public_key().bytes()),
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
  EXPECT_EQ(hex_encode(key->sign(as_bytes("\x72"))),
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00");
}

TEST(Ed25519, VerifiesItsOwnSignatureAndNothingElse) {
  SigningKey key = SigningKey::generate();
  Signature signature = key.sign(as_bytes("message"));
  EXPECT_TRUE(key.public_key().verify(as_bytes("message"), signature));
  EXPECT_FALSE(key.public_key().verify(as_bytes("messagf"), signature));
  EXPECT_FALSE(SigningKey::generate().public_key().verify(as_bytes("message"), signature));
  for (std::size_t i = 0; i < signature.size(); ++i) {
    Signature altered = signature;
    altered[i] ^= 1U;
    EXPECT_FALSE(key.public_key().verify(as_bytes("message"), altered)) << "byte " << i;
  }
  EXPECT_FALSE(key.public_key().verify(as_bytes("message"), ByteSpan{signature}.first(63)));
  EXPECT_FALSE(key.public_key().verify(as_bytes("message"), {}));
}

TEST(Ed25519, RebuildsTheKeyFromItsSeed) {
  SigningKey key = SigningKey::generate();
  auto again = SigningKey::from_seed(key.seed().reveal());
  ASSERT_TRUE(again);
  EXPECT_EQ(again->public_key(), key.public_key());
}

TEST(Ed25519, RefusesKeysOfTheWrongSize) {
  EXPECT_EQ(SigningKey::from_seed(as_bytes("short")).error().code, "crypto.bad_key");
  EXPECT_FALSE(PublicKey::from_bytes(as_bytes("short")));
  EXPECT_FALSE(PublicKey::from_base64("not base64!"));
}

TEST(Ed25519, RefusesPublicKeysOfSmallOrder) {
  std::string identity(32, '\0');
  EXPECT_FALSE(PublicKey::from_bytes(as_bytes(identity)));
  identity[0] = '\1';
  EXPECT_FALSE(PublicKey::from_bytes(as_bytes(identity)));
}

TEST(Ed25519, ReadsAPublicKeyFromBase64) {
  SigningKey key = SigningKey::generate();
  auto again = PublicKey::from_base64(key.public_key().base64());
  ASSERT_TRUE(again);
  EXPECT_EQ(again->id(), key.public_key().id());
  EXPECT_EQ(again->id().size(), 16U);
}

static_assert(!std::is_copy_constructible_v<SigningKey>);

}  // namespace
}  // namespace alga::crypto
