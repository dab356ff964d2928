#include <string>
#include <vector>

#include "base/bytes.h"
#include "control_plane/storage_records.h"
#include "control_plane/testing.h"

namespace alga::control_plane {
namespace {

using boost::json::object;
using domain::Limit;
using testing::Reply;

/// Each limit of what one request may write at its maximum: no other bound may come before it.
class LargeStorageContract : public sql::testing::OnEveryDatabase {
 protected:
  void SetUp() override {
    OnEveryDatabase::SetUp();
    if (!database_) return;
    platform_ = std::make_unique<testing::Platform>(std::move(database_), [](Options& options) {
      for (Limit limit : {Limit::storage_value, Limit::storage_metadata, Limit::storage_bulk_items,
                          Limit::storage_bulk_bytes}) {
        ASSERT_TRUE(options.limits.set_value(limit, domain::info(limit).maximum));
      }
    });
    const std::string publisher = platform_->publisher("acme");
    platform_->publish(publisher,
                       testing::Platform::bundle(testing::Platform::manifest("hello", "1.0.0")));
    admin_ = platform_->admin_of("t1");
    const Reply made =
        platform_->call("POST", "/api/v1/installs", admin_,
                        object{{"extension", "acme.hello"}, {"capabilities", {"cap:storage.kv"}}});
    ASSERT_EQ(made.status, 201) << made.text;
    install_ = made.string("/install/id");
  }
  void TearDown() override { platform_.reset(); }

  Reply op(std::string body) {
    return platform_->send("POST", "/api/internal/ext-storage/install/" + install_, "",
                           std::move(body), {{"x-runner-auth", "token-of-storage"}});
  }
  /// Bulk of equal values, each `value` as it stands in the body.
  Reply bulk(std::size_t records, const std::string& value, const std::string& more = "") {
    std::string body = R"({"operation":"bulkPut","namespace":"n","items":[)";
    for (std::size_t i = 0; i < records; ++i) {
      body += (i == 0 ? "" : ",") + (R"({"key":")" + std::to_string(i)) + R"(","value":)" + value +
              more + "}";
    }
    return op(body + "]}");
  }
  static std::string quoted(const std::string& text) { return '"' + text + '"'; }
  static std::string repeated(std::string_view part, std::size_t times) {
    std::string out;
    out.reserve(part.size() * times);
    for (std::size_t i = 0; i < times; ++i) out += part;
    return out;
  }
  static void expect_too_large(const Reply& reply) {
    EXPECT_EQ(reply.status, 400) << reply.text.substr(0, 200);
    EXPECT_EQ(reply.string("/code"), "LIMIT_EXCEEDED");
    EXPECT_EQ(reply.string("/details/code"), "storage.too_large");
  }

  static constexpr std::size_t MiB = std::size_t{1} << 20U;
  std::unique_ptr<testing::Platform> platform_;
  std::string admin_, install_;
};

TEST_P(LargeStorageContract, TakesABulkOfAsManyBytesAsItsLimitSays) {
  const std::string mark = R"(,"metadata":{"encoding":"base64-bytes"})";
  const std::string bytes(MiB, 'v');
  EXPECT_EQ(bulk(16, quoted(base64_encode(as_bytes(bytes))), mark).status, 200);
  const std::string less = base64_encode(as_bytes(std::string_view(bytes).substr(0, MiB - 1)));
  EXPECT_EQ(bulk(16, quoted(less), mark).status, 200);
  expect_too_large(bulk(17, quoted(less), mark));
}

TEST_P(LargeStorageContract, TakesValuesHoweverTheirLettersAreWritten) {
  // 16 values of 1 MiB as UTF-8, 3 MiB each in the body.
  const std::string letters = repeated("\\u00e9", MiB / 2 - 1);
  EXPECT_EQ(bulk(16, quoted(letters)).status, 200);
}

TEST_P(LargeStorageContract, TakesAsManyRecordsAsItsLimitSaysWithAllTheirMetadata) {
  const std::string metadata =  // {"m":"..."}
      R"(,"metadata":{"m":")" + std::string((64U << 10U) - 8, 'm') + "\"}";
  EXPECT_EQ(bulk(1'000, "1", metadata).status, 200);
  expect_too_large(bulk(1'001, "1"));
}

TEST_P(LargeStorageContract, TakesTheLargestValueThroughThePublicApiToo) {
  const std::string path = "/api/ext-storage/install/" + install_ + "/n/records/k";
  const auto put = [&](std::size_t bytes) {
    return platform_->send("PUT", path, admin_,
                           R"({"value":)" + quoted(std::string(bytes - 2, 'v')) + "}");
  };
  EXPECT_EQ(put(MiB).status, 200);
  const Reply refused = put(MiB + 1);
  EXPECT_EQ(refused.status, 400);
  EXPECT_EQ(refused.string("/error/details/code"), "storage.too_large") << refused.text;
}

TEST_P(LargeStorageContract, EndsAPageEarlyBeforeItGetsTooLargeForWhoeverAsked) {
  EXPECT_EQ(bulk(16, quoted(std::string(MiB - 2, 'v'))).status, 200);
  std::vector<std::string> seen;
  std::string cursor;
  std::size_t pages = 0;
  while (pages < 20) {
    const Reply page = op(R"({"operation":"list","namespace":"n","limit":100,)"
                          R"("includeValues":true)" +
                          cursor + "}");
    ASSERT_EQ(page.status, 200);
    EXPECT_LE(page.text.size(), 12 * MiB) << "lone runners take 16 MiB";
    ++pages;
    for (const auto& item : page.at("/items").as_array()) {
      seen.emplace_back(item.at("key").as_string());
    }
    if (page.at("/nextCursor").is_null()) break;
    cursor = R"(,"cursor":")" + page.string("/nextCursor") + '"';
  }
  EXPECT_EQ(pages, 2U);
  EXPECT_EQ(seen.size(), 16U);
}

TEST(StorageLimits, KeepAWriteBoundedBeforeItIsRead) {
  const StorageLimits usual;
  EXPECT_EQ(longest_bulk_write(usual), 2U << 20U);
  EXPECT_EQ(longest_write(usual), 2U << 20U);
  const StorageLimits most{.value_bytes = 1U << 20U,
                           .metadata_bytes = 64U << 10U,
                           .bulk_items = 1'000,
                           .bulk_bytes = 16U << 20U};
  EXPECT_GT(longest_bulk_write(most), 3U * (16U << 20U) + 3U * 1'000U * (64U << 10U));
  EXPECT_LT(longest_bulk_write(most), 256U << 20U);
  EXPECT_LT(longest_write(most), 4U << 20U);
}

ALGA_ON_EVERY_DATABASE(LargeStorageContract);

}  // namespace
}  // namespace alga::control_plane
