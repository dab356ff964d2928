#include "sql/migrate.h"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "base/bytes.h"
#include "crypto/digest.h"

namespace alga::sql {
namespace {

/// Any number that no other program on the same server is likely to lock.
constexpr std::int64_t kAdvisoryLock = 0x616C67615F73716C;

constexpr std::string_view kLedger = R"sql(
CREATE TABLE IF NOT EXISTS alga_migrations (
  version {int} NOT NULL PRIMARY KEY,
  name {text} NOT NULL,
  checksum {text} NOT NULL,
  applied_at {int} NOT NULL
) {strict};
)sql";

std::string checksum_of(const Migration& step) {
  return crypto::sha256_hex(fmt::format("{}\n{}\n{}", step.version, step.name, step.text));
}

/// Waits for other migrators; to be called before anything else in the transaction. SQLite's
/// transaction is the lock already.
Status lock_ledger(Executor& sql) {
  if (sql.dialect() == Dialect::sqlite) return {};
  // Not an advisory lock: the statement that waits for one has taken the transaction's snapshot,
  // and would not see what the others have applied meanwhile.
  return sql.script("LOCK TABLE alga_migrations IN ACCESS EXCLUSIVE MODE");
}

Status make_ledger(Executor& sql) {
  if (sql.dialect() == Dialect::postgres) {
    // CREATE TABLE IF NOT EXISTS alone can fail when two run at once.
    TRY_VOID(sql.query("SELECT 1 FROM pg_advisory_xact_lock($1)", {kAdvisoryLock}));
  }
  return sql.script(render_migration(kLedger, sql.dialect()));
}

/// The checksum of an applied step, or none.
Result<std::optional<std::string>> applied_checksum(Executor& sql, std::uint32_t version) {
  TRY(auto row, sql.find("SELECT checksum FROM alga_migrations WHERE version = $1", {version}));
  if (!row) return std::optional<std::string>{};
  return std::optional<std::string>{row->at<std::string>(0)};
}

Result<std::uint32_t> newest(Executor& sql) {
  TRY(auto row, sql.find("SELECT coalesce(max(version), 0) FROM alga_migrations"));
  ALGA_CHECK(row.has_value());
  return row->at<std::uint32_t>(0);
}

Status apply(Executor& sql, const Migration& step, const Clock& clock) {
  TRY_VOID(lock_ledger(sql));
  TRY(auto checksum, applied_checksum(sql, step.version));
  if (checksum) {
    if (*checksum == checksum_of(step)) return {};
    return fail(Kind::internal, "sql.migration_changed",
                fmt::format("step {} ({}) reads differently than when it was applied", step.version,
                            step.name));
  }
  TRY_VOID(sql.script(render_migration(step.text, sql.dialect())));
  TRY_VOID(
      sql.execute("INSERT INTO alga_migrations (version, name, checksum, applied_at) "
                  "VALUES ($1, $2, $3, $4)",
                  {step.version, step.name, checksum_of(step), clock.wall()}));
  return {};
}

}  // namespace

std::string render_migration(std::string_view text, Dialect dialect) {
  constexpr std::array<std::array<std::string_view, 3>, 6> kSwitches{{
      {"{key}", "TEXT", "TEXT COLLATE \"C\""},
      {"{text}", "TEXT", "TEXT"},
      {"{int}", "INTEGER", "BIGINT"},
      {"{blob}", "BLOB", "BYTEA"},
      {"{serial}", "INTEGER PRIMARY KEY AUTOINCREMENT",
       "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"},
      {"{strict}", "STRICT", ""},
  }};
  std::string rendered(text);
  for (const auto& [name, sqlite, postgres] : kSwitches) {
    std::string_view value = dialect == Dialect::sqlite ? sqlite : postgres;
    for (std::size_t at = rendered.find(name); at != std::string::npos;
         at = rendered.find(name, at + value.size())) {
      rendered.replace(at, name.size(), value);
    }
  }
  return rendered;
}

Result<std::uint32_t> schema_version(Database& database) {
  return database.read([](Executor& sql) -> Result<std::uint32_t> {
    std::string_view exists = sql.dialect() == Dialect::sqlite
                                  ? "SELECT 1 FROM sqlite_schema WHERE name = 'alga_migrations'"
                                  : "SELECT 1 WHERE to_regclass('alga_migrations') IS NOT NULL";
    TRY(auto row, sql.find(exists));
    if (!row) return 0U;
    return newest(sql);
  });
}

Result<MigrationReport> migrate(Database& database, std::span<const Migration> steps,
                                const Clock& clock) {
  auto options = [] { return WriteOptions{.deadline = within(std::chrono::minutes{10})}; };
  MigrationReport report;
  TRY(report.before, schema_version(database));
  if (!steps.empty() && report.before > steps.back().version) {
    return fail(Kind::internal, "sql.schema_too_new",
                fmt::format("the database has schema {}, this program knows {}", report.before,
                            steps.back().version));
  }
  TRY_VOID(database.write(make_ledger, options()));
  for (const Migration& step : steps) {
    TRY_VOID(database.write([&](Executor& sql) { return apply(sql, step, clock); }, options()));
  }
  TRY(report.after, schema_version(database));
  return report;
}

}  // namespace alga::sql
