#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "control_plane/core.h"
#include "domain/ports/storage.h"

namespace alga::control_plane {

/// How a record came in: raw bytes from a guest, or JSON through an API.
enum class StorageEncoding : std::uint8_t { bytes, json };

struct StorageWrite {
  std::string ns;
  std::string key;
  StorageEncoding encoding = StorageEncoding::bytes;
  std::string value;
  std::optional<std::string> metadata;  ///< JSON object as text
  domain::WriteCondition condition;
  std::optional<std::uint32_t> ttl_seconds;
  std::optional<std::int64_t> schema_version;  ///< instead of the namespace's active schema
};

struct StoredRecord {
  std::string ns;
  std::string key;
  std::uint64_t revision = 0;
  StorageEncoding encoding = StorageEncoding::bytes;
  std::string value;
  std::optional<std::string> metadata;
  std::optional<WallTime> expires;
  WallTime created, updated;
};

struct StorageListing {
  std::vector<StoredRecord> records;
  std::optional<std::string> next_cursor;
};

struct StorageUsage {
  std::uint64_t namespaces = 0, keys = 0, bytes = 0;
};

struct StorageSweep {
  std::uint64_t records = 0;  ///< that were deleted
  bool more = false;          ///< there may be others
};

struct StorageLimits {
  std::size_t namespace_chars = 128, key_chars = 256;
  std::size_t value_bytes = 64U << 10U, metadata_bytes = 4U << 10U;
  std::size_t bulk_items = 20, bulk_bytes = 512U << 10U;
  std::uint64_t namespaces = 32, keys_per_namespace = 5'120, bytes = 256ULL << 20U;
  std::uint32_t shortest_ttl = 60, longest_ttl = 2'592'000;
  std::uint32_t default_page = 25, longest_page = 100;
};

/// Those of the operator, with the reference's for the rest.
[[nodiscard]] StorageLimits storage_limits(const domain::ServerLimits& limits);

/// The longest JSON that one request within the limits may take, escaped as writers of JSON do;
/// 2 MiB at least.
[[nodiscard]] std::size_t longest_write(const StorageLimits& limits);
[[nodiscard]] std::size_t longest_bulk_write(const StorageLimits& limits);

/// Lets those who change what an install stores take turns: locks the install's row until the
/// transaction ends. Without it they would count the same quota, lose against each other and run
/// again. That there is no such install shows later.
Status take_turn(sql::Executor& sql, const domain::StorageScope& scope);

/// The records of extensions in SQL. Keys are compared byte by byte; an expired record does not
/// exist for anybody; quotas are counted in the transaction of the write, so no race gets past
/// them. Thread-safe; blocks. Errors: `storage.missing`, `storage.conflict`, `storage.invalid`,
/// `storage.too_large`, `storage.quota`, `storage.denied` (no such install),
/// `storage.schema_violation` (StorageSchemas), and those of sql.
class StorageRecords {
 public:
  explicit StorageRecords(const Core& core, StorageLimits limits = {})
      : core_(core), limits_(limits) {}

  [[nodiscard]] Result<StoredRecord> get(const domain::StorageScope& scope, const std::string& ns,
                                         const std::string& key) const;
  Result<StoredRecord> put(const domain::StorageScope& scope, const StorageWrite& write);
  /// Whether one bulk may have that many records; a hit of the limit when not.
  [[nodiscard]] Status check_count(std::size_t items) const;
  /// All or nothing; all in one namespace.
  Result<std::vector<StoredRecord>> put_all(const domain::StorageScope& scope,
                                            const std::vector<StorageWrite>& writes);
  Status remove(const domain::StorageScope& scope, const std::string& ns, const std::string& key,
                const domain::WriteCondition& condition);
  /// In order of the keys; a page ends early when its records take 8 MiB. The cursor names the last
  /// record of the page, so that the next page begins behind it whatever was written or deleted
  /// meanwhile.
  [[nodiscard]] Result<StorageListing> list(const domain::StorageScope& scope,
                                            const domain::StorageList& list) const;
  [[nodiscard]] Result<StorageUsage> usage(const domain::StorageScope& scope) const;

  /// Expired records that one transaction deletes at most.
  static constexpr std::uint64_t most_forgotten = 500;
  /// Deletes expired records of all tenants, a bounded number, in transactions of
  /// `most_forgotten`. An error is that of the first install that could not be swept.
  Result<StorageSweep> sweep();

  [[nodiscard]] const StorageLimits& limits() const [[clang::lifetimebound]] { return limits_; }

 private:
  Status check_names(const std::string& ns, const std::string& key) const;
  [[nodiscard]] std::unexpected<Error> over(domain::Limit limit, std::uint64_t most) const;
  Status check_write(const StorageWrite& write) const;
  Result<StoredRecord> put_one(sql::Executor& sql, const domain::StorageScope& scope,
                               const StorageWrite& write, WallTime now) const;
  /// What quotas are held to: of the install, `keys` of one namespace.
  struct Counts {
    std::uint64_t namespaces = 0, keys = 0, bytes = 0;
  };
  static Result<Counts> counts(sql::Executor& sql, const domain::StorageScope& scope,
                               const std::string& ns);
  Status leave_out_expired(sql::Executor& sql, const domain::StorageScope& scope,
                           const std::string& ns, WallTime now, Counts& counts) const;
  Status count(sql::Executor& sql, const domain::StorageScope& scope, const std::string& ns,
               std::int64_t keys, std::int64_t bytes, WallTime now) const;
  Status add_to_counts(sql::Executor& sql, const domain::StorageScope& scope, const std::string& ns,
                       std::int64_t keys, std::int64_t bytes) const;
  Status erase(sql::Executor& sql, const domain::StorageScope& scope,
               const StoredRecord& record) const;
  /// At most `most_forgotten`, those that expired first; answers how many.
  Result<std::uint64_t> forget_expired(sql::Executor& sql, const domain::StorageScope& scope,
                                       WallTime now) const;
  /// The same in a transaction of its own.
  Result<std::uint64_t> forget_some(const domain::StorageScope& scope, WallTime now) const;

  const Core& core_;
  StorageLimits limits_;
};

/// What a guest reads: bytes as they are, JSON text as text, a JSON string as its characters, and
/// an object with `_bytes_b64` as the bytes that it spells.
[[nodiscard]] Result<std::string> guest_value(const StoredRecord& record);

/// domain::ExtensionStorage on StorageRecords and the blocking pool.
class SqlExtensionStorage final : public domain::ExtensionStorage {
 public:
  SqlExtensionStorage(const Core& core, StorageRecords& records) : core_(core), records_(records) {}
  void get(domain::StorageScope scope, std::string ns, std::string key,
           Callback<domain::StorageRecord> done) override;
  void put(domain::StorageScope scope, domain::StoragePut put,
           Callback<std::uint64_t> done) override;
  void remove(domain::StorageScope scope, std::string ns, std::string key,
              domain::WriteCondition condition, Callback<void> done) override;
  void list(domain::StorageScope scope, domain::StorageList list,
            Callback<domain::StoragePage> done) override;

 private:
  const Core& core_;
  StorageRecords& records_;
};

}  // namespace alga::control_plane
