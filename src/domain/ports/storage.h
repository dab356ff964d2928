#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/callback.h"
#include "base/ids.h"

namespace alga::domain {

/// Whose records: the tenant first, always.
struct StorageScope {
  TenantId tenant;
  InstallId install;
  /// The grant of the execution that asks, for a storage in another process; empty without one.
  std::string grant;
};

/// `value` is opaque bytes to an extension. `json` marks records written through the REST or
/// internal API as JSON text; a guest then sees that text.
struct StorageRecord {
  std::string ns;
  std::string key;
  std::string value;
  std::uint64_t revision = 0;
};

struct WriteCondition {
  enum class Kind : std::uint8_t { always, create_only, revision } kind = Kind::always;
  std::uint64_t revision = 0;
};

struct StoragePut {
  std::string ns;
  std::string key;
  std::string value;
  WriteCondition condition;
  std::optional<std::uint32_t> ttl_seconds;
};

struct StorageList {
  std::string ns;
  std::string prefix;  ///< literal
  std::string cursor;  ///< empty: first page; opaque, from the previous page
  std::uint32_t limit = 25;
};

struct StoragePage {
  std::vector<StorageRecord> records;
  std::optional<std::string> next_cursor;
};

/// Durable records of an install. Errors: `storage.missing`, `.conflict`, `.invalid`, `.quota`,
/// `.schema_violation` (says why), `.denied`, `.unavailable`. Callbacks run on any thread.
class ExtensionStorage {
 public:
  virtual ~ExtensionStorage() = default;
  virtual void get(StorageScope scope, std::string ns, std::string key,
                   Callback<StorageRecord> done) = 0;
  /// Answers the new revision; revisions start at 1.
  virtual void put(StorageScope scope, StoragePut put, Callback<std::uint64_t> done) = 0;
  virtual void remove(StorageScope scope, std::string ns, std::string key, WriteCondition condition,
                      Callback<void> done) = 0;
  virtual void list(StorageScope scope, StorageList list, Callback<StoragePage> done) = 0;
};

}  // namespace alga::domain
