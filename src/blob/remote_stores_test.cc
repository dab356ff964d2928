#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <fstream>

#include "archive/testing.h"
#include "blob/http_bundle_store.h"
#include "blob/s3_bundle_store.h"
#include "blob/testing_contract.h"
#include "crypto/digest.h"

namespace alga::blob {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::read_object;
using ::testing::StartsWith;

/// Answers from a script and keeps what it was asked.
class ScriptedTransport final : public ObjectTransport {
 public:
  struct Step {
    std::uint16_t status = 200;
    std::string body;
    bool broken = false;  ///< after the body has been delivered
  };
  Result<ObjectResponse> send(const ObjectRequest& request, std::uint64_t max_bytes,
                              domain::ByteSink& sink) override {
    requests.push_back(request);
    if (aborts_itself) abort();
    if (script.empty()) return fail(Kind::unavailable, "blob.unavailable", "script is over");
    const Step step = script.front();
    script.pop_front();
    const bool good = step.status >= 200 && step.status < 300;
    if (good && step.body.size() > max_bytes) return fail(Kind::too_large, "blob.too_large", "");
    if (good && !step.body.empty()) TRY_VOID(sink(as_bytes(step.body)));
    if (step.broken) return fail(Kind::unavailable, "blob.unavailable", "connection reset");
    return ObjectResponse{step.status, {}, good ? "" : step.body};
  }
  void abort() noexcept override { aborted = true; }
  [[nodiscard]] bool is_aborted() const noexcept override { return aborted; }
  std::deque<Step> script;
  bool aborts_itself = false;  ///< while it sends
  bool aborted = false;
  std::vector<ObjectRequest> requests;
};

class RemoteStores : public ::testing::Test {
 protected:
  RetryPolicy retries() {
    return {.pause = [this](std::chrono::milliseconds pause) { pauses_.push_back(pause.count()); }};
  }
  std::unique_ptr<S3BundleStore> s3(S3BundleStore::Options options = {}) {
    if (options.endpoint.empty()) options.endpoint = "https://s3.test:9000";
    if (options.bucket.empty()) options.bucket = "bundles";
    options.retries = retries();
    auto store = S3BundleStore::make(
        std::move(options), [this] { return credentials(); }, transport_, clock_);
    return store ? std::move(*store) : nullptr;
  }
  Result<S3Credentials> credentials() {
    if (!keys_) return fail(Kind::unavailable, "vault.unavailable", "no keys");
    if (pairs_.size() > 1) {
      const auto [access, secret] = pairs_.front();
      pairs_.pop_front();
      return S3Credentials{access, Secret(secret), token_};
    }
    return S3Credentials{pairs_.front().first, Secret(pairs_.front().second), token_};
  }
  /// The access keys of the requests so far, in order.
  std::vector<std::string> access_keys() const {
    std::vector<std::string> keys;
    for (const ObjectRequest& request : transport_.requests) {
      const std::string text(*domain::find_header(request.headers, "authorization"));
      const std::size_t begin = text.find("Credential=") + 11;
      keys.push_back(text.substr(begin, text.find('/', begin) - begin));
    }
    return keys;
  }
  static std::string config_error(S3BundleStore::Options options) {
    ScriptedTransport transport;
    ManualClock clock;
    const auto store = S3BundleStore::make(std::move(options), {}, transport, clock);
    return store ? "accepted" : std::string(store.error().code);
  }

  ScriptedTransport transport_;
  ManualClock clock_{*parse_rfc3339("2026-01-02T03:04:05Z")};
  std::vector<long> pauses_;
  bool keys_ = true;
  /// Access and secret key, as they are read one after another; the last pair stays.
  std::deque<std::pair<std::string, std::string>> pairs_{{"AK", "SK"}};
  std::string token_;
  archive::testing::TemporaryDirectory directory_;
};

TEST_F(RemoteStores, S3SignsPathAndBodyOfAnUpload) {
  const auto path = directory_.path() / "f";
  std::ofstream(path) << "content";
  transport_.script = {{200, ""}};
  token_ = "session";
  ASSERT_TRUE(s3({.prefix = "prod"})->put_file("a/b", path.string()));
  const ObjectRequest& request = transport_.requests.at(0);
  EXPECT_EQ(request.method, "PUT");
  EXPECT_EQ(request.url, "https://s3.test:9000/bundles/prod/a/b");
  EXPECT_EQ(request.body_file, path.string());
  EXPECT_EQ(request.body_bytes, 7U);
  EXPECT_EQ(domain::find_header(request.headers, "x-amz-content-sha256"),
            crypto::sha256_hex("content"));
  EXPECT_EQ(domain::find_header(request.headers, "x-amz-date"), "20260102T030405Z");
  EXPECT_THAT(
      std::string(*domain::find_header(request.headers, "authorization")),
      StartsWith("AWS4-HMAC-SHA256 Credential=AK/20260102/us-east-1/s3/aws4_request, "
                 "SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token"));
}

TEST_F(RemoteStores, S3PutsTheBucketInTheHostWhenAsked) {
  transport_.script = {{200, "x"}};
  const auto store = s3({.addressing = S3BundleStore::Options::Addressing::virtual_host});
  EXPECT_EQ(read_object(*store, "k").value(), "x");
  EXPECT_EQ(transport_.requests.at(0).url, "https://bundles.s3.test:9000/k");
}

TEST_F(RemoteStores, S3NeverSendsItsSecretKey) {
  transport_.script = {{200, "x"}};
  ASSERT_TRUE(read_object(*s3(), "k"));
  for (const auto& header : transport_.requests.at(0).headers) {
    EXPECT_THAT(header.value, Not(HasSubstr("SK"))) << header.name;
  }
}

TEST_F(RemoteStores, TryAgainAfterTroubleAndSignAnew) {
  transport_.script = {{503, "<Code>SlowDown</Code>"}, {.broken = true}, {200, "fine"}};
  EXPECT_EQ(read_object(*s3(), "k").value(), "fine");
  EXPECT_THAT(pauses_, ElementsAre(100, 200));
}

TEST_F(RemoteStores, DoNotTryAgainWhatWasAborted) {
  const auto store = s3();
  transport_.aborts_itself = true;
  EXPECT_EQ(read_object(*store, "k").error().code, "blob.unavailable");
  EXPECT_EQ(transport_.requests.size(), 1U) << "aborted while it was under way";
  EXPECT_EQ(store->exists("k").error().code, "blob.unavailable");
  EXPECT_EQ(transport_.requests.size(), 2U) << "and one for each that comes after";
  EXPECT_THAT(pauses_, IsEmpty());
}

TEST_F(RemoteStores, GiveUpAfterThreeAttempts) {
  transport_.script = {{500, ""}, {500, ""}, {500, ""}, {200, "too late"}};
  EXPECT_EQ(read_object(*s3(), "k").error().code, "blob.unavailable");
  EXPECT_EQ(transport_.requests.size(), 3U);
}

TEST_F(RemoteStores, NeverRepeatWhatHasReachedTheReader) {
  transport_.script = {{200, "half", true}, {200, "whole"}};
  EXPECT_EQ(read_object(*s3(), "k").error().code, "blob.unavailable");
  EXPECT_EQ(transport_.requests.size(), 1U);
}

TEST_F(RemoteStores, NeverRepeatARefusal) {
  transport_.script = {{403, "<Error><Code>SignatureDoesNotMatch</Code></Error>"}};
  const auto object = read_object(*s3(), "k");
  EXPECT_EQ(object.error().code, "blob.denied");
  EXPECT_THAT(object.error().message, HasSubstr("SignatureDoesNotMatch"));
  EXPECT_EQ(transport_.requests.size(), 1U);
}

TEST_F(RemoteStores, S3AsksAgainWhenItsKeysWereReplacedMeanwhile) {
  // Read before the exchange, refused after it.
  pairs_ = {{"old", "o"}, {"new", "n"}};
  transport_.script = {{403, "<Code>InvalidAccessKeyId</Code>"}, {200, "x"}};
  EXPECT_EQ(read_object(*s3(), "k").value(), "x");
  EXPECT_THAT(access_keys(), ElementsAre("old", "new"));
  EXPECT_THAT(pauses_, ElementsAre());
}

TEST_F(RemoteStores, S3WaitsForTheSecondFileOfAnExchange) {
  pairs_ = {{"new", "o"}, {"new", "o"}, {"new", "n"}};
  transport_.script = {{403, ""}, {200, ""}};
  EXPECT_TRUE(*s3()->exists("k")) << "an answer to HEAD does not say why";
  EXPECT_THAT(access_keys(), ElementsAre("new", "new"));
  EXPECT_THAT(pauses_, ElementsAre(100));
}

TEST_F(RemoteStores, S3AsksNoMoreOftenThanUsualWithKeysThatKeepChanging) {
  pairs_ = {{"a", ""}, {"b", ""}, {"c", ""}, {"d", ""}};
  for (int i = 0; i < 4; ++i) transport_.script.push_back({403, "<Code>InvalidAccessKeyId</Code>"});
  EXPECT_EQ(read_object(*s3(), "k").error().code, "blob.denied");
  EXPECT_THAT(access_keys(), ElementsAre("a", "b", "c"));
}

TEST_F(RemoteStores, S3DoesNotAskAgainWhatItsKeysMayNotDo) {
  pairs_ = {{"old", "o"}, {"new", "n"}};
  transport_.script = {{403, "<Code>AccessDenied</Code>"}};
  EXPECT_EQ(read_object(*s3(), "k").error().code, "blob.denied");
  EXPECT_EQ(transport_.requests.size(), 1U);
}

TEST_F(RemoteStores, S3TellsAMissingBucketFromAMissingKey) {
  transport_.script = {{404, "<Code>NoSuchKey</Code>"},
                       {404, "<Code>NoSuchBucket</Code>"},
                       {404, "<Code>NoSuchKey</Code>"},
                       {404, "<Code>NoSuchBucket</Code>"}};
  const auto store = s3();
  EXPECT_EQ(read_object(*store, "k").error().code, "blob.not_found");
  EXPECT_EQ(read_object(*store, "k").error().code, "blob.bucket_missing");
  EXPECT_TRUE(store->probe());
  EXPECT_EQ(store->probe().error().code, "blob.bucket_missing");
}

TEST_F(RemoteStores, S3DoesNotRemoveWhatIsNotThere) {
  transport_.script = {{404, ""}};
  EXPECT_EQ(s3()->remove("k").error().code, "blob.not_found");
  EXPECT_EQ(transport_.requests.size(), 1U);
}

TEST_F(RemoteStores, S3PassesOnThatItHasNoKeys) {
  keys_ = false;
  EXPECT_EQ(read_object(*s3(), "k").error().code, "vault.unavailable");
  EXPECT_TRUE(transport_.requests.empty());
}

TEST_F(RemoteStores, S3RefusesAConfigurationThatCannotWork) {
  const std::string refused = "blob.invalid_config";
  EXPECT_EQ(config_error({.endpoint = "s3.test", .bucket = "b-1", .prefix = {}}), refused);
  EXPECT_EQ(config_error({.endpoint = "http://s3.test/path", .bucket = "b-1", .prefix = {}}),
            refused);
  EXPECT_EQ(config_error({.endpoint = "http://u@s3.test", .bucket = "b-1", .prefix = {}}), refused);
  EXPECT_EQ(config_error({.endpoint = "http://s3.test", .bucket = "No_Bucket", .prefix = {}}),
            refused);
  EXPECT_EQ(config_error({.endpoint = "http://s3.test", .bucket = "b-1", .prefix = "../x"}),
            refused);
  EXPECT_EQ(config_error({.endpoint = "http://s3.test/", .bucket = "b-1", .prefix = {}}),
            "accepted");
}

TEST_F(RemoteStores, HttpReadsBelowItsBase) {
  HttpBundleStore store("http://files.test/base", transport_, retries());
  transport_.script = {{200, "x"}, {404, ""}, {200, ""}};
  EXPECT_EQ(read_object(store, "a/b").value(), "x");
  EXPECT_EQ(transport_.requests.at(0).url, "http://files.test/base/a/b");
  EXPECT_FALSE(*store.exists("c"));
  EXPECT_TRUE(*store.exists("d"));
  EXPECT_EQ(transport_.requests.at(2).method, "HEAD");
}

TEST_F(RemoteStores, HttpCannotWrite) {
  HttpBundleStore store("http://files.test/", transport_, retries());
  EXPECT_EQ(store.put_file("a", "/dev/null").error().code, "blob.denied");
  EXPECT_EQ(store.remove("a").error().code, "blob.denied");
  EXPECT_EQ(store.remove("../a").error().code, "blob.invalid_key");
  EXPECT_TRUE(transport_.requests.empty());
}

TEST_F(RemoteStores, HttpCountsARefusedListingAsReachable) {
  HttpBundleStore store("http://files.test", transport_, retries());
  transport_.script = {{403, ""}, {502, ""}};
  EXPECT_TRUE(store.probe());
  EXPECT_EQ(store.probe().error().code, "blob.unavailable");
  EXPECT_EQ(store.probe().error().code, "blob.unavailable") << "and a broken connection too";
}

TEST_F(RemoteStores, ReadErrorCodesCarefully) {
  EXPECT_EQ(s3_error_code("<Error><Code>NoSuchKey</Code></Error>"), "NoSuchKey");
  EXPECT_EQ(s3_error_code("<Code>a\n\x1b[31m</Code>"), "a");
  EXPECT_EQ(s3_error_code("<Code>" + std::string(500, 'x')), std::string(64, 'x'));
  EXPECT_EQ(s3_error_code(""), "");
}

}  // namespace
}  // namespace alga::blob
