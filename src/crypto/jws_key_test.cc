#include "crypto/jws_key.h"

#include <gtest/gtest.h>

#include <string>

namespace alga::crypto {
namespace {

std::string b64(std::string_view text) { return *base64url_decode(text); }

/// RFC 8037 appendix A.4.
TEST(JwsKey, VerifiesTheEd25519ExampleOfRfc8037) {
  const auto key = JwsKey::ed25519(as_bytes(b64("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")));
  ASSERT_TRUE(key);
  const std::string message = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
  std::string signature =
      b64("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg");
  EXPECT_TRUE(key->verify(as_bytes(message), as_bytes(signature)));
  EXPECT_FALSE(key->verify(as_bytes(message + "x"), as_bytes(signature)));
  signature[0] = static_cast<char>(signature[0] ^ 1);
  EXPECT_FALSE(key->verify(as_bytes(message), as_bytes(signature)));
  EXPECT_EQ(key->algorithm(), JwsAlgorithm::eddsa);
}

/// RFC 7515 appendix A.3.
TEST(JwsKey, VerifiesTheEs256ExampleOfRfc7515) {
  const auto key = JwsKey::p256(as_bytes(b64("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU")),
                                as_bytes(b64("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0")));
  ASSERT_TRUE(key);
  const std::string message =
      "eyJhbGciOiJFUzI1NiJ9."
      "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVl"
      "fQ";
  std::string signature =
      b64("DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q");
  EXPECT_TRUE(key->verify(as_bytes(message), as_bytes(signature)));
  EXPECT_FALSE(key->verify(as_bytes("x" + message), as_bytes(signature)));
  signature[63] = static_cast<char>(signature[63] ^ 1);
  EXPECT_FALSE(key->verify(as_bytes(message), as_bytes(signature)));
  // All zero was a real break elsewhere (CVE-2022-21449).
  EXPECT_FALSE(key->verify(as_bytes(message), as_bytes(std::string(64, '\0'))));
  EXPECT_FALSE(key->verify(as_bytes(message), as_bytes(std::string(63, 'x'))));
  EXPECT_FALSE(key->verify(as_bytes(message), {}));
}

/// RFC 7515 appendix A.2.
TEST(JwsKey, VerifiesTheRs256ExampleOfRfc7515) {
  const std::string modulus = b64(
      "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4"
      "d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5re"
      "xMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxX"
      "FvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ");
  const auto key = JwsKey::rsa(as_bytes(modulus), as_bytes(b64("AQAB")));
  ASSERT_TRUE(key);
  const std::string message =
      "eyJhbGciOiJSUzI1NiJ9."
      "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVl"
      "fQ";
  const std::string signature = b64(
      "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5"
      "jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb"
      "1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QO"
      "YEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw");
  EXPECT_TRUE(key->verify(as_bytes(message), as_bytes(signature)));
  EXPECT_FALSE(key->verify(as_bytes(message + "."), as_bytes(signature)));
  EXPECT_FALSE(key->verify(as_bytes(message), as_bytes(signature.substr(1))));
}

TEST(JwsKey, RefusesKeysThatAreNone) {
  const std::string short_modulus(128, '\xff');
  const std::string even = std::string(255, '\xff') + '\xfe';
  const std::string good(256, '\xff');
  EXPECT_EQ(JwsKey::rsa(as_bytes(short_modulus), as_bytes("\x01\x00\x01")).error().code,
            "crypto.bad_key");
  EXPECT_FALSE(JwsKey::rsa(as_bytes(even), as_bytes("\x03")));
  EXPECT_FALSE(JwsKey::rsa(as_bytes(good), as_bytes("\x01")));
  EXPECT_FALSE(JwsKey::rsa(as_bytes(good), as_bytes("\x04")));
  EXPECT_FALSE(JwsKey::rsa(as_bytes(good), {}));
  EXPECT_FALSE(JwsKey::rsa(as_bytes(std::string(2000, '\xff')), as_bytes("\x03")));
  EXPECT_FALSE(JwsKey::p256(as_bytes(std::string(32, 'x')), as_bytes(std::string(32, 'y'))));
  EXPECT_FALSE(JwsKey::p256(as_bytes(std::string(31, 'x')), as_bytes(std::string(32, 'y'))));
  EXPECT_FALSE(JwsKey::ed25519(as_bytes("short")));
}

}  // namespace
}  // namespace alga::crypto
