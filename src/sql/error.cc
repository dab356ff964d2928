#include "sql/error.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include "base/bytes.h"

namespace alga::sql {
namespace {

struct Meaning {
  Kind kind;
  std::string_view code;
};

constexpr Meaning kUnique{Kind::conflict, "sql.unique_violation"};
constexpr Meaning kForeignKey{Kind::conflict, "sql.foreign_key_violation"};
constexpr Meaning kCheck{Kind::invalid, "sql.check_violation"};
constexpr Meaning kInvalidText{Kind::invalid, "sql.invalid_text"};
constexpr Meaning kBusy{Kind::unavailable, "sql.busy"};
constexpr Meaning kTimeout{Kind::timeout, "sql.timeout"};
constexpr Meaning kUnavailable{Kind::unavailable, "sql.unavailable"};
constexpr Meaning kDiskFull{Kind::unavailable, "sql.disk_full"};
constexpr Meaning kDenied{Kind::internal, "sql.denied"};
constexpr Meaning kCorrupt{Kind::internal, "sql.corrupt"};
constexpr Meaning kFailed{Kind::internal, "sql.failed"};

Meaning meaning_of_sqlstate(std::string_view state) {
  if (state == "23505") return kUnique;
  if (state == "23503") return kForeignKey;
  if (state.starts_with("23")) return kCheck;
  if (state == "22021" || state == "22P05") return kInvalidText;
  if (state.starts_with("40") || state == "55P03") return kBusy;
  if (state == "42501") return kDenied;
  if (state == "57014") return kTimeout;
  if (state == "53100") return kDiskFull;
  // 25P03, 25P04: the server ended a session whose transaction was idle or open for too long.
  if (state.starts_with("08") || state.starts_with("53") || state.starts_with("57P") ||
      state == "25P03" || state == "25P04") {
    return kUnavailable;
  }
  if (state.starts_with("XX001") || state.starts_with("XX002")) return kCorrupt;
  return kFailed;
}

Meaning meaning_of_sqlite(int extended) {
  switch (extended) {
    case SQLITE_CONSTRAINT_UNIQUE:
    case SQLITE_CONSTRAINT_PRIMARYKEY:
    case SQLITE_CONSTRAINT_ROWID: return kUnique;
    case SQLITE_CONSTRAINT_FOREIGNKEY: return kForeignKey;
    default: break;
  }
  switch (extended & 0xFF) {
    case SQLITE_CONSTRAINT: return kCheck;
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return kBusy;
    case SQLITE_INTERRUPT: return kTimeout;
    case SQLITE_FULL: return kDiskFull;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_NOMEM: return kUnavailable;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return kCorrupt;
    default: return kFailed;
  }
}

Error make(Meaning meaning, std::string message) {
  std::uint32_t retry_after = meaning.kind == Kind::unavailable ? 1 : 0;
  return Error{meaning.kind, meaning.code, std::move(message), retry_after};
}

}  // namespace

bool is_contention(const Error& error) { return error.code == kBusy.code; }
bool is_unique_violation(const Error& error) { return error.code == kUnique.code; }
bool is_connection_lost(const Error& error) { return error.code == kUnavailable.code; }

Error from_sqlstate(std::string_view sqlstate, std::string_view message) {
  return make(meaning_of_sqlstate(sqlstate), fmt::format("SQLSTATE {}: {}", sqlstate, message));
}

Error from_sqlite(int extended_code, std::string_view message) {
  return make(meaning_of_sqlite(extended_code),
              fmt::format("SQLite {}: {}", extended_code, message));
}

Status check_params(const std::vector<Value>& params) {
  for (const Value& value : params) {
    const auto* text = std::get_if<std::string>(&value.storage());
    if (text == nullptr) continue;
    if (text->contains('\0') || !is_utf8(*text)) {
      return fail(kInvalidText.kind, kInvalidText.code, "text must be UTF-8 without NUL");
    }
  }
  return {};
}

}  // namespace alga::sql
