#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "sql/database.h"

namespace alga::sql {

/// One step of the schema. `text` is SQL for both engines with these switches: `{key}` a text
/// column compared byte by byte, `{text}`, `{int}` 64 bits, `{blob}`, `{serial}` a growing primary
/// key,
/// `{strict}` behind the closing parenthesis of a table.
struct Migration {
  std::uint32_t version;
  std::string_view name;
  std::string_view text;
};

struct MigrationReport {
  std::uint32_t before = 0;
  std::uint32_t after = 0;
};

/// Brings the schema up to the newest step, under a lock, each step in its own transaction, and
/// remembers the SHA-256 of each step. Running it again changes nothing. Errors besides those of
/// the database: `sql.migration_changed` (an applied step reads differently now) and
/// `sql.schema_too_new` (the database was made by a newer version).
Result<MigrationReport> migrate(Database& database, std::span<const Migration> steps,
                                const Clock& clock);

/// The version that the database has; 0 when it is empty.
[[nodiscard]] Result<std::uint32_t> schema_version(Database& database);

/// `text` for one dialect.
[[nodiscard]] std::string render_migration(std::string_view text, Dialect dialect);

}  // namespace alga::sql
