#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "sql/database.h"

namespace alga::sql {

/// A SQLite file in WAL mode: any number of readers beside one writer. Foreign keys on, schema not
/// trusted, double-quoted strings and writable schema off. The file is made with mode 0600.
[[nodiscard]] Result<std::unique_ptr<Database>> open_sqlite(const std::string& path,
                                                            std::uint32_t readers);

}  // namespace alga::sql
