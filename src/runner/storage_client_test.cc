#include "runner/storage_client.h"

#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "async/task.h"
#include "base/bytes.h"
#include "httpd/testing_server.h"

namespace alga::runner {
namespace {

using domain::WriteCondition;

/// A storage API that answers what a test says and remembers what it was asked.
class StorageClientTest : public ::testing::Test {
 protected:
  StorageClientTest() {
    httpd::Router router;
    router.add("POST", "/api/internal/ext-storage/install/{installId}",
               [this](httpd::Request request) { return answer(this, std::move(request)); });
    server_ = std::make_unique<httpd::TestingServer>(std::move(router));
    storage_ = std::make_unique<StorageClient>(
        ControlPlaneLink{.url = server_->origin(),
                         .token = [this]() -> Result<Secret> { return Secret(token_); },
                         .tls = {}},
        client_);
  }
  static async::Task<httpd::Response> answer(StorageClientTest* test, httpd::Request request) {
    test->asked_ = std::move(request);
    test->operations_.push_back(boost::json::serialize(test->body().at("operation")));
    if (!test->answers_.empty()) {
      const auto [status, body] = test->answers_.front();
      test->answers_.erase(test->answers_.begin());
      co_return httpd::json_response(status, body);
    }
    co_return httpd::json_response(test->status_, test->body_);
  }

  template <class T, class Start>
  Result<T> wait(Start start) {
    auto promise = std::make_shared<std::promise<Result<T>>>();
    start(Callback<T>([promise](Result<T> outcome) { promise->set_value(std::move(outcome)); }));
    return promise->get_future().get();
  }
  Result<domain::StorageRecord> get(const std::string& key = "k") {
    return wait<domain::StorageRecord>(
        [&](auto done) { storage_->get(scope_, "ns", key, std::move(done)); });
  }
  Result<std::uint64_t> put(domain::StoragePut put) {
    return wait<std::uint64_t>(
        [&](auto done) { storage_->put(scope_, std::move(put), std::move(done)); });
  }
  Result<void> remove(WriteCondition condition = {}) {
    return wait<void>(
        [&](auto done) { storage_->remove(scope_, "ns", "k", condition, std::move(done)); });
  }
  Result<domain::StoragePage> list(domain::StorageList list) {
    return wait<domain::StoragePage>(
        [&](auto done) { storage_->list(scope_, std::move(list), std::move(done)); });
  }
  [[nodiscard]] boost::json::object body() const {
    return boost::json::parse(asked_->body).as_object();
  }
  /// The value that a guest gets for what stands in the answer.
  std::string value(const std::string& value, const std::string& metadata) {
    body_ = R"({"namespace":"ns","key":"k","revision":3,"value":)" + value + R"(,"metadata":)" +
            metadata + "}";
    auto record = get();
    return record ? record->value : std::string(record.error().code);
  }

  NoMetrics metrics_;
  egress::HttpClient client_{
      std::make_shared<egress::CurlLoop>(egress::CurlLoopOptions{}, metrics_)};
  std::string token_ = "the-token";
  std::uint16_t status_ = 200;
  std::string body_ = "{}";
  std::vector<std::pair<std::uint16_t, std::string>> answers_;  ///< before the usual one
  std::vector<std::string> operations_;
  std::optional<httpd::Request> asked_;
  domain::StorageScope scope_{*TenantId::parse("t1"), *InstallId::parse("i1"), "the-grant"};
  std::unique_ptr<httpd::TestingServer> server_;
  std::unique_ptr<StorageClient> storage_;
};

TEST_F(StorageClientTest, ShowsTheGrantOrElseTheToken) {
  (void)get();
  EXPECT_EQ(asked_->path, "/api/internal/ext-storage/install/i1");
  EXPECT_EQ(asked_->header("x-alga-grant"), "the-grant");
  EXPECT_FALSE(asked_->header("x-runner-auth")) << "a grant needs no token beside it";
  scope_.grant.clear();
  (void)get();
  EXPECT_FALSE(asked_->header("x-alga-grant"));
  EXPECT_EQ(asked_->header("x-runner-auth"), "the-token");
  token_.clear();
  asked_.reset();
  EXPECT_EQ(get().error().code, "storage.denied");
  EXPECT_FALSE(asked_) << "nobody asks without authority";
}

TEST_F(StorageClientTest, WritesBytesAsMarkedBase64) {
  body_ = R"({"namespace":"ns","key":"k","revision":7})";
  const std::string bytes("\0\xff\x80 raw", 7);
  const auto revision = put({.ns = "ns", .key = "k", .value = bytes, .ttl_seconds = 60});
  ASSERT_TRUE(revision) << revision.error().message;
  EXPECT_EQ(*revision, 7U);
  const auto sent = body();
  EXPECT_EQ(sent.at("operation"), "put");
  EXPECT_EQ(base64_decode(sent.at("value").as_string()), bytes);
  EXPECT_EQ(sent.at("metadata").at("encoding"), "base64-bytes");
  EXPECT_EQ(sent.at("ttlSeconds"), 60);
  EXPECT_FALSE(sent.contains("ifRevision"));
}

TEST_F(StorageClientTest, SaysWhichRevisionIsMeant) {
  using Kind = WriteCondition::Kind;
  body_ = R"({"revision":1})";
  (void)put({.ns = "ns", .key = "k", .value = "v", .condition = {Kind::create_only, 0}});
  EXPECT_EQ(body().at("ifRevision"), 0);
  (void)put({.ns = "ns", .key = "k", .value = "v", .condition = {Kind::revision, 12}});
  EXPECT_EQ(body().at("ifRevision"), 12);
  body_ = R"({"success":true})";
  EXPECT_TRUE(remove({Kind::revision, 5}));
  EXPECT_EQ(body().at("ifRevision"), 5);
  EXPECT_EQ(body().at("operation"), "delete");
}

TEST_F(StorageClientTest, ReadsValuesAsTheSqlStorageGivesThem) {
  EXPECT_EQ(value(R"("aGVsbG8=")", R"({"encoding":"base64-bytes"})"), "hello");
  EXPECT_EQ(value(R"("aGVsbG8=")", "{}"), "aGVsbG8=") << "nobody guesses";
  EXPECT_EQ(value(R"({"_bytes_b64":"aGVsbG8="})", "{}"), "hello");
  EXPECT_EQ(value(R"({"a":1})", "null"), R"({"a":1})");
  EXPECT_EQ(value("null", "{}"), "null");
  EXPECT_EQ(value(R"("%%%")", R"({"encoding":"base64-bytes"})"), "storage.unavailable");
}

TEST_F(StorageClientTest, FollowsPages) {
  body_ = R"({"items":[{"namespace":"ns","key":"a","revision":1,"value":"x","metadata":{}},
                       {"namespace":"ns","key":"b","revision":2,"value":"y","metadata":{}}],
              "nextCursor":"more"})";
  const auto page = list({.ns = "ns", .prefix = "p", .cursor = "c", .limit = 2});
  ASSERT_TRUE(page) << page.error().message;
  ASSERT_EQ(page->records.size(), 2U);
  EXPECT_EQ(page->records[1].key, "b");
  EXPECT_EQ(page->next_cursor, "more");
  const auto sent = body();
  EXPECT_EQ(sent.at("keyPrefix"), "p");
  EXPECT_EQ(sent.at("cursor"), "c");
  EXPECT_EQ(sent.at("limit"), 2);
  EXPECT_EQ(sent.at("includeValues"), true);
  body_ = R"({"items":[],"nextCursor":null})";
  EXPECT_FALSE(list({.ns = "ns"})->next_cursor);
}

TEST_F(StorageClientTest, MakesACursorNameTheLastRecordOfItsPage) {
  const auto cursor_of = [this](const std::string& key, const std::string& cursor) {
    body_ = R"({"items":[{"namespace":"ns","key":"a","revision":1,"value":"x","metadata":{}},
                         {"namespace":"ns","key":)" +
            boost::json::serialize(boost::json::string(key)) +
            R"(,"revision":2,"value":"y","metadata":{}}],"nextCursor":")" + cursor + "\"}";
    const auto page = list({.ns = "ns", .limit = 2});
    return page ? page->next_cursor.value_or("none") : std::string(page.error().code);
  };
  const auto encoded = [](std::string_view text) { return base64url_encode(as_bytes(text)); };
  EXPECT_EQ(cursor_of("b", encoded(R"({"key":"c"})")), encoded(R"({"key":"b"})"))
      << "the earlier system's names a record that it then leaves out";
  EXPECT_EQ(cursor_of("ä\"", encoded(R"({"key":"ö"})")), encoded(R"({"key":"ä\""})"));
  EXPECT_EQ(cursor_of("b", encoded(R"({"key":"b","v":1})")), encoded(R"({"key":"b","v":1})"))
      << "ours is right as it is";
  for (const std::string& other : {encoded(R"({"offset":2})"), encoded("[1]"), encoded("text"),
                                   std::string("!"), encoded(R"({"key":7})")}) {
    EXPECT_EQ(cursor_of("b", other), other) << "nobody guesses";
  }
}

TEST_F(StorageClientTest, CreatesByLookingWhereTheApiKnowsNoSuchCondition) {
  const domain::StoragePut put_new{
      .ns = "ns", .key = "k", .value = "v", .condition = {WriteCondition::Kind::create_only, 0}};
  const auto created = [&](std::vector<std::pair<std::uint16_t, std::string>> answers) {
    answers_ = std::move(answers);
    operations_.clear();
    const auto revision = put(put_new);
    return revision ? "revision " + std::to_string(*revision) : std::string(revision.error().code);
  };
  using Asked = std::vector<std::string>;
  const std::pair<std::uint16_t, std::string> bare{409, R"({"code":"REVISION_MISMATCH"})"};
  const std::string record = R"({"namespace":"ns","key":"k","value":1,"revision":)";

  EXPECT_EQ(created({bare, {404, "{}"}, {200, R"({"revision":1})"}}), "revision 1");
  EXPECT_EQ(operations_, (Asked{R"("put")", R"("get")", R"("put")"}));
  EXPECT_FALSE(body().contains("ifRevision"));
  EXPECT_EQ(created({bare, {200, record + "4}"}}), "storage.conflict");
  EXPECT_EQ(operations_, (Asked{R"("put")", R"("get")"})) << "nothing was written";
  EXPECT_EQ(created({bare, {404, "{}"}, {200, R"({"revision":2})"}}), "storage.conflict")
      << "somebody else was faster";
  EXPECT_EQ(created({bare, {503, "{}"}}), "storage.unavailable");
  EXPECT_EQ(created({bare, {404, "{}"}, {429, R"({"code":"QUOTA_EXCEEDED"})"}}), "storage.quota");
  EXPECT_EQ(created({{200, R"({"revision":1})"}}), "revision 1");
  EXPECT_EQ(operations_, Asked{R"("put")"}) << "ours can";
  EXPECT_EQ(created({{409, R"({"details":{"code":"storage.conflict"}})"}}), "storage.conflict");
  EXPECT_EQ(operations_, Asked{R"("put")"}) << "ours means it";
}

TEST_F(StorageClientTest, KeepsWhyAValueDoesNotFitItsSchema) {
  status_ = 400;
  body_ = R"({"error":"/count: wrong type","code":"VALIDATION_FAILED",)"
          R"("details":{"code":"storage.schema_violation"}})";
  const Error refused = get().error();
  EXPECT_EQ(refused.code, "storage.schema_violation");
  EXPECT_EQ(refused.message, "/count: wrong type");
}

TEST_F(StorageClientTest, KeepsWhichLimitAWriteMeets) {
  status_ = 400;
  body_ = R"({"error":"a value: at most 1","details":{"code":"storage.too_large"}})";
  EXPECT_EQ(get().error().code, "storage.too_large");
  EXPECT_EQ(get().error().message, "a value: at most 1");
  status_ = 429;
  body_ = R"({"error":"keys: at most 2","code":"QUOTA_EXCEEDED"})";
  EXPECT_EQ(get().error().code, "storage.quota");
  EXPECT_EQ(get().error().message, "keys: at most 2");
  body_ = R"({"code":"QUOTA_EXCEEDED"})";
  EXPECT_EQ(get().error().message, "the storage answered 429");
}

TEST_F(StorageClientTest, TellsRefusalsApart) {
  const auto code = [this](std::uint16_t status, const std::string& body = "{}") {
    status_ = status;
    body_ = body;
    return std::string(get().error().code);
  };
  EXPECT_EQ(code(400), "storage.invalid");
  EXPECT_EQ(code(400, R"({"details":"odd"})"), "storage.invalid");
  EXPECT_EQ(code(401), "storage.denied");
  EXPECT_EQ(code(403), "storage.denied");
  EXPECT_EQ(code(404), "storage.missing");
  EXPECT_EQ(code(409), "storage.conflict");
  EXPECT_EQ(code(429), "storage.denied");
  EXPECT_EQ(code(429, R"({"code":"QUOTA_EXCEEDED"})"), "storage.quota");
  EXPECT_EQ(code(500), "storage.unavailable");
  EXPECT_EQ(code(200, "no JSON"), "storage.unavailable");
  EXPECT_EQ(code(200, R"({"revision":-1})"), "storage.unavailable");
  status_ = 200;
  body_ = R"({"success":false})";
  EXPECT_EQ(remove().error().code, "storage.missing");
  server_.reset();
  EXPECT_EQ(get().error().code, "storage.unavailable");
}

}  // namespace
}  // namespace alga::runner
