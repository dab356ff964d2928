#include "blob/sigv4.h"

#include <gtest/gtest.h>

#include "crypto/digest.h"

namespace alga::blob {
namespace {

const std::string kEmpty = crypto::sha256_hex("");

std::string signature(const std::string& authorization) {
  return authorization.substr(authorization.rfind('=') + 1);
}

/// The request, keys and time of the examples in "Signature calculations for the Authorization
/// header: transferring payload in a single chunk" (Amazon S3 API reference).
class S3Example : public ::testing::Test {
 protected:
  std::string sign(SigV4Request request) {
    request.headers.push_back({"Host", "examplebucket.s3.amazonaws.com"});
    request.headers.push_back({"x-amz-content-sha256", request.payload_sha256});
    request.headers.push_back({"x-amz-date", amz_date(time_)});
    const S3Credentials keys{
        .access_key_id = "AKIAIOSFODNN7EXAMPLE",
        .secret_access_key = Secret("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        .session_token = {}};
    return sigv4_authorization(request, keys, "us-east-1", "s3", time_);
  }
  WallTime time_ = *parse_rfc3339("2013-05-24T00:00:00Z");
};

TEST_F(S3Example, GetObject) {
  EXPECT_EQ(sign({.method = "GET",
                  .path = "/test.txt",
                  .query = {},
                  .headers = {{"Range", "bytes=0-9"}},
                  .payload_sha256 = kEmpty}),
            "AWS4-HMAC-SHA256 "
            "Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
            "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
            "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

TEST_F(S3Example, PutObject) {
  EXPECT_EQ(signature(sign({.method = "PUT",
                            .path = "/test$file.text",
                            .query = {},
                            .headers = {{"Date", "Fri, 24 May 2013 00:00:00 GMT"},
                                        {"x-amz-storage-class", "REDUCED_REDUNDANCY"}},
                            .payload_sha256 = crypto::sha256_hex("Welcome to Amazon S3.")})),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
}

TEST_F(S3Example, GetBucketLifecycle) {
  EXPECT_EQ(signature(sign({.method = "GET",
                            .path = "/",
                            .query = {{"lifecycle", ""}},
                            .headers = {},
                            .payload_sha256 = kEmpty})),
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
}

TEST_F(S3Example, ListObjects) {
  EXPECT_EQ(signature(sign({.method = "GET",
                            .path = "/",
                            .query = {{"prefix", "J"}, {"max-keys", "2"}},
                            .headers = {},
                            .payload_sha256 = kEmpty})),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

/// Cases of the aws-sig-v4-test-suite.
class Suite : public ::testing::Test {
 protected:
  static std::string sign(std::string method, Query query, domain::Headers headers = {}) {
    const WallTime time = *parse_rfc3339("2015-08-30T12:36:00Z");
    headers.push_back({"Host", "example.amazonaws.com"});
    headers.push_back({"X-Amz-Date", amz_date(time)});
    const S3Credentials keys{
        .access_key_id = "AKIDEXAMPLE",
        .secret_access_key = Secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
        .session_token = {}};
    return signature(sigv4_authorization({.method = std::move(method),
                                          .path = "/",
                                          .query = std::move(query),
                                          .headers = std::move(headers),
                                          .payload_sha256 = kEmpty},
                                         keys, "us-east-1", "service", time));
  }
};

TEST_F(Suite, GetVanilla) {
  EXPECT_EQ(sign("GET", {}), "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
}

TEST_F(Suite, GetVanillaQueryOrderKeyCase) {
  EXPECT_EQ(sign("GET", {{"Param2", "value2"}, {"Param1", "value1"}}),
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500");
}

TEST_F(Suite, PostVanilla) {
  EXPECT_EQ(sign("POST", {}), "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b");
}

TEST(SigV4, NormalisesHeaders) {
  const std::string text = canonical_request({.method = "GET",
                                              .path = "/a b/ü",
                                              .query = {{"b", "2"}, {"a", "x y"}, {"b", "1"}},
                                              .headers = {{"X-Two", "  a   b "}, {"x-two", "c"}},
                                              .payload_sha256 = "hash"});
  EXPECT_EQ(text, "GET\n/a%20b/%C3%BC\na=x%20y&b=1&b=2\nx-two:a b,c\n\nx-two\nhash");
}

TEST(SigV4, WritesTimeWithoutPunctuation) {
  EXPECT_EQ(amz_date(*parse_rfc3339("2015-08-30T12:36:00.999Z")), "20150830T123600Z");
}

}  // namespace
}  // namespace alga::blob
