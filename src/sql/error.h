#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "sql/value.h"

namespace alga::sql {

/// True for failures that a fresh attempt of the same transaction may not meet again.
[[nodiscard]] bool is_contention(const Error& error);
/// True when a row with the same key is there.
[[nodiscard]] bool is_unique_violation(const Error& error);
/// True when the connection died under the statement.
[[nodiscard]] bool is_connection_lost(const Error& error);

/// The error for a SQLSTATE (PostgreSQL, appendix A). `message` must be the primary message alone:
/// details quote values.
[[nodiscard]] Error from_sqlstate(std::string_view sqlstate, std::string_view message);
/// The error for an extended SQLite result code.
[[nodiscard]] Error from_sqlite(int extended_code, std::string_view message);

/// Refuses text that PostgreSQL could not store, so that both engines accept the same values.
[[nodiscard]] Status check_params(const std::vector<Value>& params);

}  // namespace alga::sql
