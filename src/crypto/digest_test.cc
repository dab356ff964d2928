#include "crypto/digest.h"

#include <gtest/gtest.h>

#include <string>

namespace alga::crypto {
namespace {

TEST(Sha256, AgreesWithFips180) {
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Sha256, GivesTheSameDigestForTheSameBytesInPieces) {
  std::string text(100'000, 'a');
  Sha256 hash;
  for (std::size_t at = 0; at < text.size(); at += 777) {
    hash.update(std::string_view{text}.substr(at, 777));
  }
  EXPECT_EQ(hash.finish_hex(), sha256_hex(text));
}

TEST(Sha256, StartsOverAfterFinish) {
  Sha256 hash;
  hash.update("first");
  (void)hash.finish();
  hash.update("abc");
  EXPECT_EQ(hash.finish_hex(), sha256_hex("abc"));
}

TEST(HmacSha256, AgreesWithRfc4231) {
  Digest mac = hmac_sha256(as_bytes("Jefe"), as_bytes("what do ya want for nothing?"));
  EXPECT_EQ(hex_encode(mac), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

TEST(HmacSha256, AcceptsAnEmptyKey) {
  EXPECT_EQ(hex_encode(hmac_sha256({}, {})),
            "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

TEST(ConstantTimeEqual, ComparesContentAndLength) {
  EXPECT_TRUE(constant_time_equal("token", "token"));
  EXPECT_FALSE(constant_time_equal("token", "tokem"));
  EXPECT_FALSE(constant_time_equal("token", "toke"));
  EXPECT_TRUE(constant_time_equal("", ""));
}

TEST(HashToken, DiffersFromThePlainDigest) {
  EXPECT_EQ(hash_token("alga_a_b"), hash_token("alga_a_b"));
  EXPECT_NE(hash_token("alga_a_b"), sha256_hex("alga_a_b"));
  EXPECT_NE(hash_token("alga_a_b"), hash_token("alga_a_c"));
}

}  // namespace
}  // namespace alga::crypto
