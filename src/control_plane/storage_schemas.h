#pragma once

#include <boost/json/object.hpp>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "control_plane/storage_records.h"

namespace alga::control_plane {

/// A JSON Schema of one namespace of an install's storage.
struct NamespaceSchema {
  std::int64_t version = 0;
  std::string document;  ///< JSON text
  std::string status;    ///< `active` (at most one of a namespace), `deprecated` or `draft`
  std::string created_by;
  WallTime created;
};

/// The schemas that records are held against: what is written into a namespace that has an active
/// one must fit it. A document never changes; records from before a schema stay as they are.
/// Thread-safe; blocks.
class StorageSchemas {
 public:
  explicit StorageSchemas(const Core& core) : core_(core) {}

  static constexpr std::size_t most_versions = 32;  ///< of one namespace

  /// Adds a version, or changes the status of one that is there (`document` absent or the same).
  /// The active one is deprecated when another becomes active. Errors: `storage.bad_schema`,
  /// `storage.schema_exists` (another document), `storage.no_schema`, `storage.denied`.
  Result<NamespaceSchema> put(const Caller& caller, const domain::StorageScope& scope,
                              const std::string& ns, std::int64_t version,
                              const std::optional<std::string>& document,
                              const std::string& status);
  /// Newest version first.
  [[nodiscard]] Result<std::vector<NamespaceSchema>> list(const domain::StorageScope& scope,
                                                          const std::string& ns) const;
  /// Error: `storage.no_schema`.
  Status remove(const Caller& caller, const domain::StorageScope& scope, const std::string& ns,
                std::int64_t version);

 private:
  const Core& core_;
};

/// The version of the active schema of a namespace; none: nothing is checked.
[[nodiscard]] Result<std::optional<std::int64_t>> active_schema(sql::Executor& sql,
                                                                const domain::StorageScope& scope,
                                                                const std::string& ns);

/// Holds writes of one namespace against its schema; answers the version that was active. Outside
/// of any transaction, because checking may take a while. Error: `storage.schema_violation`.
[[nodiscard]] Result<std::optional<std::int64_t>> check_schemas(
    const Core& core, const domain::StorageScope& scope, std::span<const StorageWrite> writes);

/// Error: `sql.malformed_json`.
[[nodiscard]] Result<boost::json::object> to_json(const NamespaceSchema& schema);

}  // namespace alga::control_plane
