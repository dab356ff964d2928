#include <mutex>
#include <thread>

#include "base/bytes.h"
#include "control_plane/testing.h"

namespace alga::control_plane {
namespace {

using boost::json::object;
using testing::OnPlatform;
using testing::Reply;

class ExtensionStorageContract : public OnPlatform {
 protected:
  void SetUp() override {
    OnPlatform::SetUp();
    if (platform_) install();
  }
  void install() {
    publish_hello();
    admin_ = p().admin_of("t1");
    install_ = install_hello(admin_, {{"capabilities", {"cap:storage.kv"}}});
  }
  Reply op(object body) {
    return p().call("POST", "/api/internal/ext-storage/install/" + install_, "", body,
                    {{"x-runner-auth", "token-of-storage"}});
  }
  Reply put(std::string_view key, boost::json::value value, object more = {}) {
    object body{{"operation", "put"}, {"namespace", "n"}, {"key", key}, {"value", value}};
    for (const auto& [name, member] : more) body[name] = member;
    return op(body);
  }
  Reply get(std::string_view key) {
    return op({{"operation", "get"}, {"namespace", "n"}, {"key", key}});
  }
  domain::StorageScope scope() {
    return {TenantId::parse("t1").value(), InstallId::parse(install_).value()};
  }
  template <class T, class Start>
  static Result<T> wait(Start start) {
    std::promise<Result<T>> promise;
    start([&](Result<T> outcome) { promise.set_value(std::move(outcome)); });
    return promise.get_future().get();
  }
  Result<std::uint64_t> guest_put(std::string key, std::string value,
                                  domain::WriteCondition condition = {},
                                  std::optional<std::uint32_t> ttl = {}) {
    return wait<std::uint64_t>([&](auto done) {
      p().plane().storage().put(scope(), {"n", key, value, condition, ttl}, std::move(done));
    });
  }
  std::string admin_, install_;
};

TEST_P(ExtensionStorageContract, CountsRevisionsFromOne) {
  EXPECT_EQ(put("k", 1).at("/revision"), 1);
  EXPECT_EQ(put("k", {{"deep", {1, 2, nullptr}}}).at("/revision"), 2);
  Reply got = get("k");
  EXPECT_EQ(got.status, 200);
  EXPECT_EQ(boost::json::serialize(got.at("/value")), R"({"deep":[1,2,null]})");
  EXPECT_EQ(got.at("/revision"), 2);
  EXPECT_EQ(get("other").status, 404);
  EXPECT_EQ(get("other").string("/code"), "NOT_FOUND");
}

TEST_P(ExtensionStorageContract, CreatesOnlyWhenAskedTo) {
  EXPECT_EQ(put("k", 1, {{"ifRevision", 0}}).status, 200);
  Reply again = put("k", 2, {{"ifRevision", 0}});
  EXPECT_EQ(again.status, 409);
  EXPECT_EQ(again.string("/code"), "REVISION_MISMATCH");
  EXPECT_EQ(put("k", 2, {{"ifRevision", 7}}).status, 409);
  EXPECT_EQ(put("k", 2, {{"ifRevision", 1}}).at("/revision"), 2);
  EXPECT_EQ(put("new", 2, {{"ifRevision", 1}}).status, 409);
}

TEST_P(ExtensionStorageContract, PagesWithoutLosingOrRepeatingARecord) {
  for (int i = 0; i < 57; ++i) {
    put("key" + std::to_string(1000 + i), i);
  }
  std::vector<std::string> seen;
  boost::json::value cursor;
  for (int pages = 0; pages < 20; ++pages) {
    object request{{"operation", "list"}, {"namespace", "n"}, {"limit", 10}};
    if (cursor.is_string()) request["cursor"] = cursor;
    Reply page = op(request);
    ASSERT_EQ(page.status, 200) << page.text;
    for (const auto& item : page.at("/items").as_array()) {
      seen.emplace_back(item.at("key").as_string());
    }
    // What is deleted or added meanwhile does not disturb the page that follows.
    if (pages == 1) op({{"operation", "delete"}, {"namespace", "n"}, {"key", "key1019"}});
    if (pages == 1) put("key0", "before the cursor");
    cursor = page.at("/nextCursor");
    if (cursor.is_null()) break;
  }
  ASSERT_EQ(seen.size(), 57U);
  for (std::size_t i = 0; i < seen.size(); ++i)
    EXPECT_EQ(seen[i], "key" + std::to_string(1000 + i));
  EXPECT_EQ(op({{"operation", "list"}, {"namespace", "n"}, {"cursor", "nonsense!"}}).status, 400);
}

TEST_P(ExtensionStorageContract, TakesPrefixesLiterally) {
  for (const char* key : {"a%b", "aXb", "a_c", "abc", "A%b", "ä1"}) put(key, 1);
  auto keys = [&](const char* prefix) {
    Reply page = op({{"operation", "list"}, {"namespace", "n"}, {"keyPrefix", prefix}});
    std::string all;
    for (const auto& item : page.at("/items").as_array()) {
      all += std::string(item.at("key").as_string()) + " ";
    }
    return all;
  };
  EXPECT_EQ(keys("a%"), "a%b ");
  EXPECT_EQ(keys("a_"), "a_c ");
  EXPECT_EQ(keys("ä"), "ä1 ");
  EXPECT_EQ(keys("a"), "a%b aXb a_c abc ");
}

TEST_P(ExtensionStorageContract, ForgetsWhatHasExpired) {
  EXPECT_EQ(put("k", 1, {{"ttlSeconds", 60}}).status, 200);
  EXPECT_EQ(put("k", 1, {{"ttlSeconds", 59}}).status, 400);
  EXPECT_EQ(put("k", 1, {{"ttlSeconds", 2'592'001}}).status, 400);
  EXPECT_EQ(get("k").status, 200);
  p().clock().advance(std::chrono::seconds{61});
  EXPECT_EQ(get("k").status, 404);
  EXPECT_EQ(op({{"operation", "list"}, {"namespace", "n"}}).at("/items").as_array().size(), 0U);
  EXPECT_EQ(put("k", 1, {{"ifRevision", 0}}).at("/revision"), 1);
}

TEST_P(ExtensionStorageContract, HoldsItsLimits) {
  EXPECT_EQ(put(std::string(256, 'k'), 1).status, 200);
  EXPECT_EQ(put(std::string(257, 'k'), 1).status, 400);
  EXPECT_EQ(put("a/b", 1).status, 400);
  EXPECT_EQ(put("", 1).status, 400);
  EXPECT_EQ(put("k", boost::json::string((64U << 10U) - 2, 'v')).status, 200);
  Reply big = put("k", boost::json::string(64U << 10U, 'v'));
  EXPECT_EQ(big.status, 400);
  EXPECT_EQ(big.string("/code"), "LIMIT_EXCEEDED");
  for (int i = 0; i < 31; ++i) {
    EXPECT_EQ(op({{"operation", "put"},
                  {"namespace", "ns" + std::to_string(i)},
                  {"key", "k"},
                  {"value", 1}})
                  .status,
              200);
  }
  Reply full = op({{"operation", "put"}, {"namespace", "one more"}, {"key", "k"}, {"value", 1}});
  EXPECT_EQ(full.status, 429);
  EXPECT_EQ(full.string("/code"), "QUOTA_EXCEEDED");
  op({{"operation", "delete"}, {"namespace", "ns0"}, {"key", "k"}});
  EXPECT_EQ(
      op({{"operation", "put"}, {"namespace", "one more"}, {"key", "k"}, {"value", 1}}).status,
      200);
}

TEST_P(ExtensionStorageContract, StoresAllOfABulkOrNothing) {
  auto items = [](int last_revision) {
    return boost::json::array{object{{"key", "a"}, {"value", 1}},
                              object{{"key", "b"}, {"value", 2}, {"ifRevision", last_revision}}};
  };
  Reply refused = op({{"operation", "bulkPut"}, {"namespace", "n"}, {"items", items(5)}});
  EXPECT_EQ(refused.status, 409);
  EXPECT_EQ(get("a").status, 404);
  Reply stored = op({{"operation", "bulkPut"}, {"namespace", "n"}, {"items", items(0)}});
  EXPECT_EQ(stored.status, 200);
  EXPECT_EQ(stored.at("/items/1/revision"), 1);
  boost::json::array many;
  for (int i = 0; i < 21; ++i) many.push_back(object{{"key", std::to_string(i)}, {"value", i}});
  EXPECT_EQ(op({{"operation", "bulkPut"}, {"namespace", "n"}, {"items", many}}).status, 400);
}

TEST_P(ExtensionStorageContract, ShowsGuestsAndApisTheSameRecords) {
  std::string bytes("\0\xff raw", 6);
  ASSERT_EQ(guest_put("raw", bytes).value(), 1U);
  Reply seen = get("raw");
  EXPECT_EQ(seen.string("/value"), base64_encode(as_bytes(bytes)));
  EXPECT_EQ(seen.string("/metadata/encoding"), "base64-bytes");
  put("copy", seen.at("/value"), {{"metadata", {{"encoding", "base64-bytes"}}}});
  put("json", {{"a", 1}});
  put("text", "plain");
  auto guest = [&](std::string key) {
    auto record = wait<domain::StorageRecord>(
        [&](auto done) { p().plane().storage().get(scope(), "n", key, std::move(done)); });
    return record ? record->value : std::string(record.error().code);
  };
  EXPECT_EQ(guest("copy"), bytes);
  EXPECT_EQ(guest("json"), R"({"a":1})");
  EXPECT_EQ(guest("text"), "plain");
  EXPECT_EQ(guest("none"), "storage.missing");
  ASSERT_TRUE(p().database().write([](sql::Executor& sql) {
    return sql.execute("UPDATE ext_storage_records SET value = $1 WHERE record_key = 'json'",
                       {sql::Blob{"{"}});
  }));
  EXPECT_EQ(guest("json"), "storage.unavailable") << "what is no JSON any more is no value";
}

TEST_P(ExtensionStorageContract, LetsOneOfManyWritersWinARevision) {
  ASSERT_TRUE(guest_put("k", "0"));
  std::atomic<int> wins = 0;
  std::atomic<int> conflicts = 0;
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (std::uint64_t revision = 1; revision <= 10; ++revision) {
        auto put = guest_put("k", "x", {domain::WriteCondition::Kind::revision, revision});
        if (put) ++wins;
        if (!put && put.error().code == "storage.conflict") ++conflicts;
      }
    });
  }
  threads.clear();
  EXPECT_EQ(wins, 10);
  EXPECT_EQ(wins + conflicts, 40);
}

TEST_P(ExtensionStorageContract, LetsNoRacePastAQuota) {
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 12; ++i) {
        (void)wait<std::uint64_t>([&](auto done) {
          p().plane().storage().put(
              scope(), {"ns" + std::to_string(t) + "-" + std::to_string(i), "k", "v", {}, {}},
              std::move(done));
        });
      }
    });
  }
  threads.clear();
  Reply usage = p().call("GET", "/api/v1/installs/" + install_ + "/usage", admin_);
  EXPECT_EQ(usage.at("/usage/storage/namespaces"), 32);
  EXPECT_EQ(usage.at("/usage/storage/keys"), 32);
}

TEST_P(ExtensionStorageContract, TakesAGrantForItsOwnInstallOnly) {
  Reply config = p().call("POST", "/internal/runner/install-config", "",
                          object{{"tenantId", "t1"}, {"extensionId", install_}},
                          {{"x-runner-auth", "token-of-config"}});
  std::string grant = config.string("/grant");
  object body{{"operation", "list"}, {"namespace", "n"}};
  const std::string base = "/api/internal/ext-storage/install/";
  EXPECT_EQ(p().call("POST", base + install_, "", body, {{"x-alga-grant", grant}}).status, 200);
  EXPECT_EQ(p().call("POST", base + install_, "", body).status, 401);
  EXPECT_EQ(p().call("POST", base + install_, "", body, {{"x-alga-grant", grant + "x"}}).status,
            401);
  std::string other = install_hello(p().admin_of("t2"));
  EXPECT_EQ(p().call("POST", base + other, "", body, {{"x-alga-grant", grant}}).status, 403);
  p().clock().advance(std::chrono::seconds{70});
  EXPECT_EQ(p().call("POST", base + install_, "", body, {{"x-alga-grant", grant}}).status, 401);
}

TEST_P(ExtensionStorageContract, ServesAdministratorsOverRest) {
  const std::string base = "/api/ext-storage/install/" + install_ + "/n/records";
  EXPECT_EQ(p().call("POST", base, admin_, object{{"key", "k"}, {"value", 1}}).status, 201);
  EXPECT_EQ(p().call("PUT", base + "/k", admin_, object{{"value", 2}}).at("/revision"), 2);
  EXPECT_EQ(p().call("GET", base + "/k", admin_).at("/value"), 2);
  EXPECT_EQ(p().call("GET", base + "/k", admin_, {}, {{"if-revision-match", "1"}}).status, 409);
  EXPECT_EQ(p().call("GET", base + "?includeValues=true", admin_).at("/items/0/value"), 2);
  EXPECT_EQ(p().call("DELETE", base + "/k?ifRevision=1", admin_).status, 409);
  EXPECT_EQ(p().call("DELETE", base + "/k?ifRevision=2", admin_).status, 204);
  Reply gone = p().call("GET", base + "/k", admin_);
  EXPECT_EQ(gone.status, 404);
  EXPECT_EQ(gone.string("/error/code"), "NOT_FOUND");
}

/// Namespaces with a JSON Schema.
class StorageSchemaContract : public ExtensionStorageContract {
 protected:
  Reply set_schema(int version, boost::json::value schema, std::string_view status = "active") {
    return p().call("PUT", path("/" + std::to_string(version)), admin_,
                    object{{"schema", std::move(schema)}, {"status", status}});
  }
  std::string path(const std::string& rest) {
    return "/api/ext-storage/install/" + install_ + "/n/schemas" + rest;
  }
  static object counter() {
    return {{"type", "object"},
            {"properties", object{{"count", object{{"type", "integer"}, {"minimum", 0}}}}},
            {"required", {"count"}},
            {"additionalProperties", false}};
  }
};

TEST_P(StorageSchemaContract, RefusesWhatDoesNotFitTheActiveSchema) {
  EXPECT_EQ(put("before", "anything").status, 200);
  EXPECT_EQ(set_schema(1, counter()).status, 200);
  EXPECT_EQ(put("k", {{"count", 1}}).status, 200);
  Reply refused = put("k", {{"count", -1}});
  EXPECT_EQ(refused.status, 400);
  EXPECT_EQ(refused.string("/code"), "VALIDATION_FAILED");
  EXPECT_EQ(refused.string("/details/code"), "storage.schema_violation");
  EXPECT_TRUE(refused.string("/error").contains("[count]")) << refused.text;
  EXPECT_EQ(put("k", {{"count", 1}, {"other", 2}}).status, 400);
  EXPECT_EQ(get("k").at("/revision"), 1) << "a refused write changes nothing";
  EXPECT_EQ(get("before").status, 200) << "what was there stays as it is";
  // The public API holds to it too, and other namespaces do not.
  const std::string records = "/api/ext-storage/install/" + install_;
  EXPECT_EQ(p().call("PUT", records + "/n/records/k", admin_, object{{"value", 1}}).status, 400);
  EXPECT_EQ(p().call("PUT", records + "/other/records/k", admin_, object{{"value", 1}}).status,
            200);
}

TEST_P(StorageSchemaContract, StoresNothingOfABulkWithOneRecordThatDoesNotFit) {
  EXPECT_EQ(set_schema(1, counter()).status, 200);
  const boost::json::array items{object{{"key", "a"}, {"value", {{"count", 1}}}},
                                 object{{"key", "b"}, {"value", "no"}}};
  EXPECT_EQ(op({{"operation", "bulkPut"}, {"namespace", "n"}, {"items", items}}).status, 400);
  EXPECT_EQ(get("a").status, 404);
}

TEST_P(StorageSchemaContract, HoldsTheBytesOfAGuestToTheSchema) {
  EXPECT_EQ(set_schema(1, counter()).status, 200);
  EXPECT_TRUE(guest_put("k", R"({"count":2})"));
  EXPECT_EQ(guest_put("k", R"({"count":"2"})").error().code, "storage.schema_violation");
  EXPECT_EQ(guest_put("k", "\xff\x00 no JSON").error().code, "storage.schema_violation");
}

TEST_P(StorageSchemaContract, HasOneActiveSchemaAndLetsAWriterNameADeprecatedOne) {
  EXPECT_EQ(set_schema(1, counter()).status, 200);
  EXPECT_EQ(set_schema(2, {{"type", "string"}}).status, 200);
  Reply listed = p().call("GET", path(""), admin_);
  EXPECT_EQ(listed.string("/schemas/0/status"), "active");
  EXPECT_EQ(listed.at("/schemas/0/version"), 2);
  EXPECT_EQ(listed.string("/schemas/1/status"), "deprecated");
  EXPECT_EQ(put("k", "text").status, 200);
  EXPECT_EQ(put("k", {{"count", 1}}).status, 400);
  EXPECT_EQ(put("k", {{"count", 1}}, {{"schemaVersion", 1}}).status, 200);
  EXPECT_EQ(put("k", "text", {{"schemaVersion", 3}}).status, 400) << "there is no such version";
  EXPECT_EQ(set_schema(3, true, "draft").status, 200);
  EXPECT_EQ(put("k", "text", {{"schemaVersion", 3}}).status, 400) << "nobody writes by a draft";
  // Back to the first one, by its number alone.
  EXPECT_EQ(p().call("PUT", path("/1"), admin_, object{{"status", "active"}}).status, 200);
  EXPECT_EQ(put("k", {{"count", 1}}).status, 200);
  EXPECT_EQ(p().call("DELETE", path("/1"), admin_).status, 204);
  EXPECT_EQ(put("k", 12).status, 200) << "without an active schema everything fits";
}

TEST_P(StorageSchemaContract, RefusesSchemasThatItDoesNotUnderstandAndNeverChangesOne) {
  for (const boost::json::value& bad :
       {boost::json::value{{"pattern", "(a+)+$"}}, boost::json::value{{"$ref", "#"}},
        boost::json::value{{"unheardOf", 1}}, boost::json::value(1)}) {
    Reply refused = set_schema(1, bad);
    EXPECT_EQ(refused.status, 400) << bad;
    EXPECT_EQ(refused.string("/error/code"), "storage.bad_schema") << refused.text;
  }
  EXPECT_EQ(set_schema(1, counter()).status, 200);
  EXPECT_EQ(set_schema(1, counter()).status, 200) << "the same again does no harm";
  EXPECT_EQ(set_schema(1, true).string("/error/code"), "storage.schema_exists");
  EXPECT_EQ(p().call_malformed("PUT", path("/0"), admin_, object{{"schema", true}}).status, 400);
  const object loud{{"schema", true}, {"status", "loud"}};
  EXPECT_EQ(p().call_malformed("PUT", path("/2"), admin_, loud).status, 400);
  Reply missing = p().call("PUT", path("/9"), admin_, object{{"status", "active"}});
  EXPECT_EQ(missing.string("/error/code"), "storage.no_schema");
  EXPECT_EQ(p().call("DELETE", path("/9"), admin_).string("/error/code"), "storage.no_schema");
  for (int version = 2; version <= 32; ++version) {
    ASSERT_EQ(set_schema(version, true, "draft").status, 200);
  }
  EXPECT_EQ(set_schema(33, true, "draft").string("/error/code"), "storage.bad_schema");
}

TEST_P(StorageSchemaContract, LetsNothingPastASchemaThatBecomesActiveMeanwhile) {
  EXPECT_EQ(set_schema(1, true).status, 200);
  EXPECT_EQ(set_schema(2, counter(), "draft").status, 200);
  std::atomic<bool> active = false;
  std::atomic<int> late = 0;
  std::vector<std::jthread> writers;
  for (int writer = 0; writer < 4; ++writer) {
    writers.emplace_back([&, writer] {
      for (int i = 0; i < 25; ++i) {
        const bool after = active;
        Reply reply = put("w" + std::to_string(writer), "text");
        if (after && reply.status == 200) ++late;
      }
    });
  }
  EXPECT_EQ(p().call("PUT", path("/2"), admin_, object{{"status", "active"}}).status, 200);
  active = true;
  writers.clear();
  EXPECT_EQ(late, 0);
}

/// Each limit so small that a test reaches it, to the byte.
class SmallStorageContract : public ExtensionStorageContract {
 protected:
  void SetUp() override {
    OnEveryDatabase::SetUp();
    if (!database_) return;
    platform_ = std::make_unique<testing::Platform>(
        std::move(database_),
        [](Options& options) {
          for (auto [limit, value] : {std::pair{domain::Limit::storage_metadata, 20},
                                      std::pair{domain::Limit::storage_bulk_items, 3},
                                      std::pair{domain::Limit::storage_bulk_bytes, 100},
                                      std::pair{domain::Limit::storage_keys, 3},
                                      std::pair{domain::Limit::storage_bytes, 300}}) {
            ASSERT_TRUE(options.limits.set_value(limit, static_cast<std::uint64_t>(value)));
          }
        },
        nullptr, [this](Dependencies& deps) { deps.metrics = &hits_; });
    install();
  }
  void TearDown() override { platform_.reset(); }

  Reply put_in(std::string_view ns, std::string_view key, boost::json::value value,
               object more = {}) {
    more["namespace"] = ns;
    return put(key, std::move(value), std::move(more));
  }
  /// A JSON string that takes `bytes`, its quotes included.
  static boost::json::value sized(std::size_t bytes) { return boost::json::string(bytes - 2, 'v'); }
  /// Four limits share the first code and three the second: the message names the one it was.
  static void expect_too_large(const Reply& reply, std::string_view message) {
    EXPECT_EQ(reply.status, 400) << reply.text;
    EXPECT_EQ(reply.string("/code"), "LIMIT_EXCEEDED");
    EXPECT_EQ(reply.string("/details/code"), "storage.too_large");
    EXPECT_EQ(reply.string("/error"), message);
  }
  static void expect_quota(const Reply& reply, std::string_view message) {
    EXPECT_EQ(reply.status, 429) << reply.text;
    EXPECT_EQ(reply.string("/code"), "QUOTA_EXCEEDED");
    EXPECT_EQ(reply.string("/details/code"), "storage.quota");
    EXPECT_EQ(reply.string("/error"), message);
  }
  testing::LimitHits hits_;
};

TEST_P(SmallStorageContract, BoundsTheMetadataOfARecord) {
  const auto metadata = [](std::size_t bytes) {  // {"m":"..."}
    return object{{"metadata", object{{"m", boost::json::string(bytes - 8, 'm')}}}};
  };
  EXPECT_EQ(put("k", 1, metadata(20)).status, 200);
  EXPECT_EQ(hits_.text(), "");
  expect_too_large(put("k", 2, metadata(21)),
                   "metadata of a stored record: at most 20 (limits.storage_metadata)");
  EXPECT_EQ(hits_.text(), "storage_metadata 1");
  EXPECT_EQ(get("k").at("/value"), 1) << "a refused write changes nothing";
}

TEST_P(SmallStorageContract, BoundsTheRecordsOfABulk) {
  const auto bulk = [&](int records) {
    boost::json::array items;
    for (int i = 0; i < records; ++i) {
      items.push_back(object{{"key", std::to_string(i)}, {"value", i}});
    }
    return op({{"operation", "bulkPut"}, {"namespace", "n"}, {"items", items}});
  };
  int refused = 0;
  for (int records : {4, 5, 1'000, 50'000}) {
    expect_too_large(bulk(records),
                     "records of one bulk write: at most 3 (limits.storage_bulk_items)");
    EXPECT_EQ(hits_.text(), "storage_bulk_items " + std::to_string(++refused)) << records;
  }
  EXPECT_EQ(get("0").status, 404) << "all or nothing";
  EXPECT_EQ(bulk(3).status, 200);
  EXPECT_EQ(hits_.text(), "storage_bulk_items 4");
  EXPECT_EQ(bulk(0).string("/details/code"), "storage.invalid");
}

TEST_P(SmallStorageContract, BoundsTheBytesOfABulk) {
  const auto bulk = [&](std::size_t first, std::size_t second) {
    return op({{"operation", "bulkPut"},
               {"namespace", "n"},
               {"items", boost::json::array{object{{"key", "a"}, {"value", sized(first)}},
                                            object{{"key", "b"}, {"value", sized(second)}}}}});
  };
  expect_too_large(bulk(50, 51),
                   "values of one bulk write together: at most 100 (limits.storage_bulk_bytes)");
  EXPECT_EQ(hits_.text(), "storage_bulk_bytes 1");
  EXPECT_EQ(get("a").status, 404) << "all or nothing";
  EXPECT_EQ(bulk(50, 50).status, 200);
  EXPECT_EQ(put("c", sized(101)).status, 200) << "one record is held to its own limit";
  EXPECT_EQ(hits_.text(), "storage_bulk_bytes 1");
}

TEST_P(SmallStorageContract, BoundsTheKeysOfANamespace) {
  for (const char* key : {"a", "b", "c"}) EXPECT_EQ(put(key, 1).status, 200);
  EXPECT_EQ(put("a", 2).at("/revision"), 2) << "what is there may change";
  EXPECT_EQ(put_in("other", "a", 1).status, 200) << "each namespace has its own";
  EXPECT_EQ(hits_.text(), "");
  expect_quota(put("d", 1), "keys of one namespace: at most 3 (limits.storage_keys)");
  EXPECT_EQ(hits_.text(), "storage_keys 1");
  EXPECT_EQ(get("d").status, 404);
  auto of_guest = guest_put("d", "1");
  ASSERT_FALSE(of_guest);
  EXPECT_EQ(of_guest.error().code, "storage.quota");
  EXPECT_EQ(hits_.text(), "storage_keys 2");
  op({{"operation", "delete"}, {"namespace", "n"}, {"key", "b"}});
  EXPECT_EQ(put("d", 1).status, 200) << "a key that went gave its place";
  EXPECT_EQ(hits_.text(), "storage_keys 2");
}

TEST_P(SmallStorageContract, BoundsTheBytesOfAnInstall) {
  constexpr std::string_view full =
      "stored values of an install together: at most 300 (limits.storage_bytes)";
  // The key of one byte counts, too.
  EXPECT_EQ(put_in("one", "a", sized(149)).status, 200);
  EXPECT_EQ(put_in("two", "b", sized(149)).status, 200);
  EXPECT_EQ(hits_.text(), "") << "300 bytes";
  expect_quota(put_in("three", "c", 1), full);
  EXPECT_EQ(hits_.text(), "storage_bytes 1");
  expect_quota(put_in("two", "b", sized(150)), full);
  expect_quota(put_in("two", "b", sized(149), {{"metadata", {{"m", 1}}}}), full);
  EXPECT_EQ(hits_.text(), "storage_bytes 3") << "metadata counts, too";
  EXPECT_EQ(put_in("two", "b", sized(147)).at("/revision"), 2) << "less is never refused";
  EXPECT_EQ(put_in("three", "c", 1).status, 200) << "there is room for a key and a figure again";
  expect_quota(put_in("three", "c", 12), full);
  EXPECT_EQ(hits_.text(), "storage_bytes 4");
}

TEST_P(SmallStorageContract, BoundsAValue) {
  expect_too_large(put("k", sized((64U << 10U) + 1)),
                   "one stored value: at most 65536 (limits.storage_value)");
  EXPECT_EQ(hits_.text(), "storage_value 1");
}

TEST_P(SmallStorageContract, BoundsTheNamespacesOfAnInstall) {
  for (int i = 0; i < 32; ++i) {
    EXPECT_EQ(put_in(std::to_string(i), "k", 1).status, 200) << i;
  }
  EXPECT_EQ(hits_.text(), "");
  expect_quota(put_in("32", "k", 1),
               "namespaces of an install: at most 32 (limits.storage_namespaces)");
  EXPECT_EQ(hits_.text(), "storage_namespaces 1");
  EXPECT_EQ(put_in("0", "k", 2).at("/revision"), 2) << "what is there may change";
}

/// As it is unless somebody says otherwise: the token of runners opens no storage.
class StorageByGrant : public ExtensionStorageContract {
 protected:
  void SetUp() override {
    OnEveryDatabase::SetUp();
    if (!database_) return;
    platform_ = std::make_unique<testing::Platform>(std::move(database_), [](Options& options) {
      options.storage_without_grant = Options{}.storage_without_grant;
    });
    install();
  }
};

TEST_P(StorageByGrant, AsksARunnerForTheGrantWhateverTokenItShows) {
  const Reply config = p().call("POST", "/internal/runner/install-config", "",
                                object{{"tenantId", "t1"}, {"extensionId", "acme.hello"}},
                                {{"x-runner-auth", "token-of-config"}});
  const std::string path = "/api/internal/ext-storage/install/" + install_;
  const object body{{"operation", "list"}, {"namespace", "n"}};
  const Reply refused = op(body);
  EXPECT_EQ(refused.status, 403) << refused.text;
  EXPECT_EQ(refused.string("/code"), "NAMESPACE_DENIED");
  EXPECT_EQ(refused.string("/details/code"), "storage.denied");
  EXPECT_EQ(p().call("POST", path, "", body, {{"x-runner-auth", "another"}}).status, 401);
  EXPECT_EQ(p().call("POST", path, "", body, {{"x-alga-grant", config.string("/grant")}}).status,
            200);
}

ALGA_ON_EVERY_DATABASE(StorageByGrant);

ALGA_ON_EVERY_DATABASE(ExtensionStorageContract);
ALGA_ON_EVERY_DATABASE(SmallStorageContract);
ALGA_ON_EVERY_DATABASE(StorageSchemaContract);

}  // namespace
}  // namespace alga::control_plane
