// The remote stores against real servers over real sockets. The S3 server is versitygw in front of
// a folder: put it on the PATH or name it in ALGA_VERSITYGW, else those tests skip and say so.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "archive/testing.h"
#include "base/testing_process.h"
#include "blob/egress_transport.h"
#include "blob/http_bundle_store.h"
#include "blob/s3_bundle_store.h"
#include "blob/testing_contract.h"
#include "egress/testing_upstream.h"

namespace alga::blob {
namespace {

namespace fs = std::filesystem;

class Servers : public ::testing::Test {
 protected:
  NoMetrics metrics_;
  egress::HttpClient client_{
      std::make_shared<egress::CurlLoop>(egress::CurlLoopOptions{}, metrics_)};
  EgressTransport transport_{client_};
  SystemClock clock_;
  archive::testing::TemporaryDirectory directory_;
};

class S3Server : public Servers {
 protected:
  void SetUp() override {
    const auto program = alga::testing::find_program("ALGA_VERSITYGW", "versitygw");
    if (!program) {
      GTEST_SKIP() << "SKIPPED: no S3 server. go install github.com/versity/versitygw/cmd/"
                      "versitygw@latest, then put it on the PATH or into ALGA_VERSITYGW.";
    }
    port_ = alga::testing::free_port();
    fs::create_directories(directory_.path() / "s3" / "bundles");
    fs::create_directory(directory_.path() / "uploads");
    server_.emplace(
        std::vector<std::string>{*program, "--port", "127.0.0.1:" + std::to_string(port_),
                                 "--access", "test-key", "--secret", "test-secret", "--quiet",
                                 "posix", "--nometa", (directory_.path() / "s3").string()},
        directory_.path() / "log");
    ASSERT_TRUE(server_->wait_until([this] {
      const auto store = this->store();
      return store->probe().has_value();
    }));
  }
  std::unique_ptr<S3BundleStore> store(const std::string& bucket = "bundles",
                                       const std::string& secret = "test-secret",
                                       const std::string& prefix = "") {
    return *S3BundleStore::make(
        {.endpoint = "http://127.0.0.1:" + std::to_string(port_),
         .bucket = bucket,
         .prefix = prefix,
         .retries = {.attempts = 2, .first_pause = std::chrono::milliseconds(1)}},
        [secret] { return S3Credentials{"test-key", Secret(secret), {}}; }, transport_, clock_);
  }
  std::uint16_t port_ = 0;
  std::optional<alga::testing::ChildProcess> server_;
};

TEST_F(S3Server, KeepsTheContract) {
  const auto plain = store();
  testing::expect_bundle_store(*plain, directory_.path() / "uploads");
  const auto prefixed = store("bundles", "test-secret", "prod/eu-1");
  testing::expect_bundle_store(*prefixed, directory_.path() / "uploads");
}

TEST_F(S3Server, RefusesASignatureByAnotherKey) {
  const auto stranger = store("bundles", "wrong-secret");
  const auto object = testing::read_object(*stranger, "a");
  EXPECT_EQ(object.error().code, "blob.denied");
  EXPECT_THAT(object.error().message, ::testing::HasSubstr("SignatureDoesNotMatch"));
  EXPECT_EQ(stranger->probe().error().code, "blob.denied");
}

TEST_F(S3Server, SaysThatTheBucketIsMissing) {
  EXPECT_EQ(store("nowhere")->probe().error().code, "blob.bucket_missing");
}

TEST_F(S3Server, IsUnavailableWhenStoppedAndComesBack) {
  const auto plain = store();
  server_->stop();
  EXPECT_EQ(testing::read_object(*plain, "a").error().code, "blob.unavailable");
  EXPECT_EQ(plain->probe().error().code, "blob.unavailable");
}

TEST_F(Servers, ReportATransferThatBreaksOff) {
  egress::TestingUpstream upstream([](egress::TestingUpstream::Connection& connection) {
    while (connection.read_head()) {
      if (!connection.write("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this")) return;
      return;
    }
  });
  HttpBundleStore store("http://127.0.0.1:" + std::to_string(upstream.port()), transport_,
                        {.first_pause = std::chrono::milliseconds(1)});
  EXPECT_EQ(testing::read_object(store, "a").error().code, "blob.unavailable");
  EXPECT_EQ(upstream.accepted(), 1) << "what was delivered is not fetched again";
}

TEST_F(Servers, DoNotFollowARedirect) {
  egress::TestingUpstream upstream([](egress::TestingUpstream::Connection& connection) {
    while (connection.read_head()) {
      connection.write(
          "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n");
    }
  });
  HttpBundleStore store("http://127.0.0.1:" + std::to_string(upstream.port()), transport_,
                        {.first_pause = std::chrono::milliseconds(1)});
  EXPECT_EQ(testing::read_object(store, "a").error().code, "blob.unavailable");
}

TEST_F(Servers, StopAtTheBoundWhateverTheServerAnnounces) {
  egress::TestingUpstream upstream([](egress::TestingUpstream::Connection& connection) {
    while (connection.read_head()) {
      const std::string endless(64 << 10, 'x');
      connection.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
      while (connection.write("10000\r\n" + endless + "\r\n")) {
      }
      return;
    }
  });
  HttpBundleStore store("http://127.0.0.1:" + std::to_string(upstream.port()), transport_, {});
  EXPECT_EQ(testing::read_object(store, "a", 100'000).error().code, "blob.too_large");
}

TEST_F(Servers, ThatNeverAnswerAreNotWaitedForWhenTheTransportAborts) {
  egress::TestingUpstream silent([this](egress::TestingUpstream::Connection& connection) {
    connection.read_head();
    transport_.abort();
    connection.wait_closed();
  });
  const std::string origin = "http://127.0.0.1:" + std::to_string(silent.port());
  const auto s3 = *S3BundleStore::make(
      {.endpoint = origin,
       .bucket = "bundles",
       .timeout = std::chrono::hours(1),
       .retries = {.pause = [](auto) { ADD_FAILURE() << "tries again"; }}},
      [] { return S3Credentials{"key", Secret("secret"), {}}; }, transport_, clock_);
  EXPECT_EQ(testing::read_object(*s3, "a").error().code, "blob.unavailable");
  const fs::path file = directory_.path() / "file";
  std::ofstream(file) << "bytes";
  EXPECT_EQ(s3->put_file("a", file.string()).error().code, "blob.unavailable");
  EXPECT_EQ(s3->exists("a").error().code, "blob.unavailable");
  HttpBundleStore http(origin, transport_, {});
  EXPECT_EQ(testing::read_object(http, "a").error().code, "blob.unavailable");
  EXPECT_EQ(silent.accepted(), 1) << "nothing more is asked";
}

}  // namespace
}  // namespace alga::blob
