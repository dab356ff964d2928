#pragma once

#include <memory>
#include <string>

#include "sql/database.h"

namespace alga::sql {

/// Whether libpq would make a connection of the address. Error: `sql.invalid_address`.
[[nodiscard]] Status check_postgres_address(const std::string& address);

/// PostgreSQL 15 or newer through libpq. Connections are made when needed, at most
/// `options.connections`, and replaced when they break. Opening succeeds without a server: the
/// first call then fails with `sql.unavailable`.
[[nodiscard]] Result<std::unique_ptr<Database>> open_postgres(const std::string& address,
                                                              OpenOptions options);

}  // namespace alga::sql
