#include "control_plane/storage_records.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/bytes.h"
#include "control_plane/storage_schemas.h"
#include "json/decode.h"
#include "json/parse.h"

namespace alga::control_plane {
namespace {

/// To hold writes against the active schema before it changes once more.
constexpr int kAttempts = 3;

/// Of values and metadata in one page, so that an answer has a bound however large values may be.
constexpr std::size_t kPageBytes = 8U << 20U;

std::unexpected<Error> bad(std::string message) {
  return fail(Kind::invalid, "storage.invalid", std::move(message));
}

std::size_t characters(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

Status check_name(std::string_view what, std::string_view name, std::size_t most) {
  bool control = std::ranges::any_of(name, [](unsigned char c) { return c < 0x20 || c == 0x7F; });
  if (name.empty() || control || !is_utf8(name) || characters(name) > most) {
    return bad(fmt::format("{} has 1 to {} characters and no control characters", what, most));
  }
  return {};
}

constexpr std::string_view kRecordColumns =
    "SELECT namespace, record_key, revision, encoding, value, metadata, ttl_expires_at, "
    "created_at, "
    "updated_at FROM ext_storage_records ";

StoredRecord read_record(const sql::Row& row) {
  StoredRecord record;
  std::string encoding;
  sql::Blob value;
  std::tie(record.ns, record.key, record.revision, encoding, value, record.metadata, record.expires,
           record.created, record.updated) =
      row.as<std::string, std::string, std::uint64_t, std::string, sql::Blob,
             std::optional<std::string>, std::optional<WallTime>, WallTime, WallTime>();
  record.encoding = encoding == "json" ? StorageEncoding::json : StorageEncoding::bytes;
  record.value = std::move(value.bytes);
  return record;
}

/// Expired or not.
Result<std::optional<StoredRecord>> find_kept(sql::Executor& sql, const domain::StorageScope& scope,
                                              const std::string& ns, const std::string& key) {
  TRY(auto row, sql.find(std::string(kRecordColumns) +
                             "WHERE tenant = $1 AND install_id = $2 AND namespace = $3 AND "
                             "record_key = $4",
                         {scope.tenant, scope.install, ns, key}));
  if (!row) return std::optional<StoredRecord>{};
  return std::optional{read_record(*row)};
}

bool is_expired(const StoredRecord& record, WallTime now) {
  return record.expires && *record.expires <= now;
}

Result<std::optional<StoredRecord>> find_record(sql::Executor& sql,
                                                const domain::StorageScope& scope,
                                                const std::string& ns, const std::string& key,
                                                WallTime now) {
  TRY(auto record, find_kept(sql, scope, ns, key));
  if (record && is_expired(*record, now)) record.reset();
  return record;
}

std::int64_t size_of(const StoredRecord& record) {
  std::size_t metadata = record.metadata ? record.metadata->size() : 0;
  return static_cast<std::int64_t>(record.key.size() + record.value.size() + metadata);
}

Status check_condition(const domain::WriteCondition& condition,
                       const std::optional<StoredRecord>& present) {
  using enum domain::WriteCondition::Kind;
  bool holds = condition.kind == always || (condition.kind == create_only && !present) ||
               (condition.kind == revision && present && present->revision == condition.revision);
  if (holds) return {};
  return fail(Kind::conflict, "storage.conflict", "the record has another revision");
}

std::string make_cursor(const std::string& last_key) {
  return base64url_encode(as_bytes(to_text(boost::json::object{{"key", last_key}})));
}

Result<std::string> read_cursor(const std::string& cursor) {
  auto text = base64url_decode(cursor);
  if (!text) return bad("the cursor is not one of ours");
  auto document = json::Document::parse(*text);
  if (!document || !document->value().is_object()) return bad("the cursor is not one of ours");
  json::Object root = document->root();
  auto key = root.string("key");
  if (!key || !root.finish()) return bad("the cursor is not one of ours");
  return std::move(*key);
}

}  // namespace

StorageLimits storage_limits(const domain::ServerLimits& limits) {
  using domain::Limit;
  StorageLimits out;
  out.value_bytes = limits.value(Limit::storage_value);
  out.metadata_bytes = limits.value(Limit::storage_metadata);
  out.bulk_items = limits.value(Limit::storage_bulk_items);
  out.bulk_bytes = limits.value(Limit::storage_bulk_bytes);
  out.namespaces = limits.value(Limit::storage_namespaces);
  out.keys_per_namespace = limits.value(Limit::storage_keys);
  out.bytes = limits.value(Limit::storage_bytes);
  return out;
}

namespace {

/// Two bytes of UTF-8 take six as `\u00e9`, which is the worst that writers of JSON do to a value;
/// base64 takes four for three.
constexpr std::size_t kEscaped = 3;
/// Keys, other members and blanks of one record.
constexpr std::size_t kFrame = 4U << 10U;
/// However low the limits are, so that whoever is above them learns which one it is.
constexpr std::size_t kShortest = 2U << 20U;

}  // namespace

std::size_t longest_write(const StorageLimits& limits) {
  return std::max(kShortest, kEscaped * (limits.value_bytes + limits.metadata_bytes) + kFrame);
}

std::size_t longest_bulk_write(const StorageLimits& limits) {
  const std::size_t records = limits.bulk_items * (kEscaped * limits.metadata_bytes + kFrame);
  return std::max(longest_write(limits), kEscaped * limits.bulk_bytes + records + kFrame);
}

Status take_turn(sql::Executor& sql, const domain::StorageScope& scope) {
  TRY_VOID(sql.query(fmt::format("SELECT 1 FROM tenant_extension_install WHERE tenant = $1 AND id "
                                 "= $2{}",
                                 sql.row_lock()),
                     {scope.tenant, scope.install}));
  return {};
}

/// What an install keeps is a quota, what one request brings a size. Several limits share a code:
/// the message says which one it was by the name of its setting.
std::unexpected<Error> StorageRecords::over(domain::Limit limit, std::uint64_t most) const {
  const domain::LimitInfo& info = domain::info(limit);
  domain::count_limit_hit(*core_.deps().metrics, limit);
  const bool quota = info.code == "storage.quota";
  return fail(quota ? Kind::rate_limited : Kind::too_large, info.code,
              fmt::format("{}: at most {} (limits.{})", info.description, most, info.name));
}

Status StorageRecords::check_names(const std::string& ns, const std::string& key) const {
  TRY_VOID(check_name("a namespace", ns, limits_.namespace_chars));
  TRY_VOID(check_name("a key", key, limits_.key_chars));
  if (key.contains('/')) return bad("a key contains no slash");
  return {};
}

Status StorageRecords::check_write(const StorageWrite& write) const {
  TRY_VOID(check_names(write.ns, write.key));
  if (write.value.size() > limits_.value_bytes) {
    return over(domain::Limit::storage_value, limits_.value_bytes);
  }
  if (write.metadata && write.metadata->size() > limits_.metadata_bytes) {
    return over(domain::Limit::storage_metadata, limits_.metadata_bytes);
  }
  if (write.ttl_seconds &&
      (*write.ttl_seconds < limits_.shortest_ttl || *write.ttl_seconds > limits_.longest_ttl)) {
    return bad(
        fmt::format("a record lives {} to {} seconds", limits_.shortest_ttl, limits_.longest_ttl));
  }
  return {};
}

Result<StoredRecord> StorageRecords::get(const domain::StorageScope& scope, const std::string& ns,
                                         const std::string& key) const {
  TRY_VOID(check_names(ns, key));
  TRY(auto record, core_.db().read([&](sql::Executor& sql) {
    return find_record(sql, scope, ns, key, core_.now());
  }));
  if (!record) return fail(Kind::not_found, "storage.missing", "there is no such record");
  return std::move(*record);
}

Result<StoredRecord> StorageRecords::put(const domain::StorageScope& scope,
                                         const StorageWrite& write) {
  TRY(auto stored, put_all(scope, {write}));
  return std::move(stored.front());
}

Status StorageRecords::check_count(std::size_t items) const {
  if (items == 0) return bad("there is nothing to store");
  if (items > limits_.bulk_items) {
    return over(domain::Limit::storage_bulk_items, limits_.bulk_items);
  }
  return {};
}

Result<std::vector<StoredRecord>> StorageRecords::put_all(const domain::StorageScope& scope,
                                                          const std::vector<StorageWrite>& writes) {
  TRY_VOID(check_count(writes.size()));
  std::size_t bytes = 0;
  for (const StorageWrite& write : writes) {
    TRY_VOID(check_write(write));
    bytes += write.value.size();
  }
  // One record alone is held to its own limit.
  if (writes.size() > 1 && bytes > limits_.bulk_bytes) {
    return over(domain::Limit::storage_bulk_bytes, limits_.bulk_bytes);
  }
  std::optional<std::int64_t> checked_by;
  bool schema_changed = false;
  auto body = [&](sql::Executor& sql) -> Result<std::vector<StoredRecord>> {
    TRY_VOID(take_turn(sql, scope));
    TRY(const auto active, active_schema(sql, scope, writes.front().ns));
    schema_changed = active != checked_by;
    if (schema_changed) {
      return fail(Kind::conflict, "storage.conflict", "the namespace's schema keeps changing");
    }
    WallTime now = core_.now();
    TRY_VOID(forget_expired(sql, scope, now));
    std::vector<StoredRecord> stored;
    for (const StorageWrite& write : writes) {
      TRY(StoredRecord record, put_one(sql, scope, write, now));
      stored.push_back(std::move(record));
    }
    return stored;
  };
  Result<std::vector<StoredRecord>> stored;
  for (int attempts = 0; attempts < kAttempts; ++attempts) {
    // Outside of the transaction, which looks again whether it is still the active one.
    TRY(checked_by, check_schemas(core_, scope, writes));
    stored = core_.db().write(body, {.isolation = sql::Isolation::read_committed});
    if (!schema_changed) break;
  }
  if (!stored && stored.error().code == "sql.foreign_key_violation") {
    return fail(Kind::denied, "storage.denied", "there is no such install");
  }
  return stored;
}

Result<StoredRecord> StorageRecords::put_one(sql::Executor& sql, const domain::StorageScope& scope,
                                             const StorageWrite& write, WallTime now) const {
  TRY(auto present, find_kept(sql, scope, write.ns, write.key));
  if (present && is_expired(*present, now)) {
    TRY_VOID(erase(sql, scope, *present));
    present.reset();
  }
  TRY_VOID(check_condition(write.condition, present));
  StoredRecord record{.ns = write.ns,
                      .key = write.key,
                      .revision = present ? present->revision + 1 : 1,
                      .encoding = write.encoding,
                      .value = write.value,
                      .metadata = write.metadata,
                      .created = present ? present->created : now,
                      .updated = now};
  if (write.ttl_seconds) record.expires = now + std::chrono::seconds{*write.ttl_seconds};
  TRY_VOID(count(sql, scope, write.ns, present ? 0 : 1,
                 size_of(record) - (present ? size_of(*present) : 0), now));
  TRY_VOID(sql.execute(
      "INSERT INTO ext_storage_records (tenant, install_id, namespace, record_key, revision, "
      "encoding, value, metadata, size_bytes, ttl_expires_at, created_at, updated_at) VALUES ($1, "
      "$2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT (tenant, install_id, namespace, "
      "record_key) DO UPDATE SET revision = excluded.revision, encoding = excluded.encoding, value "
      "= excluded.value, metadata = excluded.metadata, size_bytes = excluded.size_bytes, "
      "ttl_expires_at = excluded.ttl_expires_at, updated_at = excluded.updated_at",
      {scope.tenant, scope.install, record.ns, record.key, record.revision,
       record.encoding == StorageEncoding::json ? "json" : "bytes", sql::Blob{record.value},
       record.metadata, size_of(record), record.expires, record.created, record.updated}));
  return record;
}

Status StorageRecords::add_to_counts(sql::Executor& sql, const domain::StorageScope& scope,
                                     const std::string& ns, std::int64_t keys,
                                     std::int64_t bytes) const {
  TRY_VOID(
      sql.execute("UPDATE ext_storage_namespaces SET keys_count = keys_count + $1, bytes_used = "
                  "bytes_used + $2 WHERE tenant = $3 AND install_id = $4 AND namespace = $5",
                  {keys, bytes, scope.tenant, scope.install, ns}));
  return {};
}

Status StorageRecords::count(sql::Executor& sql, const domain::StorageScope& scope,
                             const std::string& ns, std::int64_t keys, std::int64_t bytes,
                             WallTime now) const {
  TRY_VOID(sql.execute(
      "INSERT INTO ext_storage_namespaces (tenant, install_id, namespace, keys_count, bytes_used) "
      "VALUES ($1, $2, $3, 0, 0) ON CONFLICT DO NOTHING",
      {scope.tenant, scope.install, ns}));
  TRY_VOID(add_to_counts(sql, scope, ns, keys, bytes));
  if (keys <= 0 && bytes <= 0) return {};
  TRY(Counts used, counts(sql, scope, ns));
  // What has expired counts for nobody, swept or not; it is added up only when that matters.
  const bool within = used.namespaces <= limits_.namespaces &&
                      used.keys <= limits_.keys_per_namespace && used.bytes <= limits_.bytes;
  if (!within) TRY_VOID(leave_out_expired(sql, scope, ns, now, used));
  if (used.namespaces > limits_.namespaces) {
    return over(domain::Limit::storage_namespaces, limits_.namespaces);
  }
  if (used.keys > limits_.keys_per_namespace) {
    return over(domain::Limit::storage_keys, limits_.keys_per_namespace);
  }
  if (used.bytes > limits_.bytes) return over(domain::Limit::storage_bytes, limits_.bytes);
  return {};
}

Status StorageRecords::erase(sql::Executor& sql, const domain::StorageScope& scope,
                             const StoredRecord& record) const {
  TRY_VOID(sql.execute(
      "DELETE FROM ext_storage_records WHERE tenant = $1 AND install_id = $2 AND namespace = $3 "
      "AND record_key = $4",
      {scope.tenant, scope.install, record.ns, record.key}));
  return add_to_counts(sql, scope, record.ns, -1, -size_of(record));
}

Status StorageRecords::remove(const domain::StorageScope& scope, const std::string& ns,
                              const std::string& key, const domain::WriteCondition& condition) {
  TRY_VOID(check_names(ns, key));
  const auto body = [&](sql::Executor& sql) -> Status {
    TRY_VOID(take_turn(sql, scope));
    TRY(auto present, find_record(sql, scope, ns, key, core_.now()));
    if (!present) {
      if (condition.kind == domain::WriteCondition::Kind::revision) {
        return fail(Kind::conflict, "storage.conflict", "the record has another revision");
      }
      return fail(Kind::not_found, "storage.missing", "there is no such record");
    }
    TRY_VOID(check_condition(condition, present));
    TRY_VOID(erase(sql, scope, *present));
    // An empty namespace gives its place to another one.
    TRY_VOID(
        sql.execute("DELETE FROM ext_storage_namespaces WHERE tenant = $1 AND install_id = $2 "
                    "AND namespace = $3 AND keys_count = 0",
                    {scope.tenant, scope.install, ns}));
    return {};
  };
  return core_.db().write(body, {.isolation = sql::Isolation::read_committed});
}

Result<StorageListing> StorageRecords::list(const domain::StorageScope& scope,
                                            const domain::StorageList& list) const {
  TRY_VOID(check_name("a namespace", list.ns, limits_.namespace_chars));
  if (!list.prefix.empty()) TRY_VOID(check_name("a prefix", list.prefix, limits_.key_chars));
  if (list.limit < 1 || list.limit > limits_.longest_page) {
    return bad(fmt::format("a page has 1 to {} records", limits_.longest_page));
  }
  std::string after;
  if (!list.cursor.empty()) {
    TRY(after, read_cursor(list.cursor));
  }
  TRY(sql::Rows rows, core_.db().read([&](sql::Executor& sql) {
    return sql.query(
        std::string(kRecordColumns) +
            "WHERE tenant = $1 AND install_id = $2 AND namespace = $3 AND record_key > "
            "$4 AND record_key >= $5 AND substr(record_key, 1, length($5)) = $5 AND "
            "(ttl_expires_at IS NULL OR ttl_expires_at > $6) ORDER BY record_key LIMIT "
            "$7",
        {scope.tenant, scope.install, list.ns, after, list.prefix, core_.now(), list.limit + 1});
  }));
  StorageListing listing;
  std::size_t bytes = 0;
  for (const sql::Row& row : rows) {
    if (listing.records.size() == list.limit || bytes >= kPageBytes) {
      listing.next_cursor = make_cursor(listing.records.back().key);
      break;
    }
    listing.records.push_back(read_record(row));
    bytes += static_cast<std::size_t>(size_of(listing.records.back()));
  }
  return listing;
}

Result<StorageUsage> StorageRecords::usage(const domain::StorageScope& scope) const {
  TRY(auto row, core_.db().read([&](sql::Executor& sql) {
    return sql.find(
        "SELECT count(*), CAST(coalesce(sum(keys_count), 0) AS BIGINT), "
        "CAST(coalesce(sum(bytes_used), 0) AS BIGINT) FROM ext_storage_namespaces WHERE "
        "tenant = $1 AND install_id = $2",
        {scope.tenant, scope.install});
  }));
  ALGA_CHECK(row.has_value());  // a sum is one row
  auto [namespaces, keys, bytes] = row->as<std::uint64_t, std::uint64_t, std::uint64_t>();
  return StorageUsage{namespaces, keys, bytes};
}

Result<std::string> guest_value(const StoredRecord& record) {
  if (record.encoding == StorageEncoding::bytes) return record.value;
  TRY(const boost::json::value value, from_column(record.value, "value"));
  if (value.is_string()) return std::string(value.get_string());
  if (value.is_object()) {
    const auto* spelled = value.get_object().if_contains("_bytes_b64");
    if (spelled != nullptr && spelled->is_string()) {
      if (auto bytes = base64_decode(spelled->get_string())) return std::move(*bytes);
    }
  }
  return record.value;
}

}  // namespace alga::control_plane
