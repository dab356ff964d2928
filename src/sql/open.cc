#include "sql/database.h"
#include "sql/postgres.h"
#include "sql/sqlite.h"

namespace alga::sql {

Result<std::unique_ptr<Database>> open_database(const std::string& address,
                                                std::uint32_t connections) {
  constexpr std::string_view kSqlite = "sqlite:";
  if (address.starts_with(kSqlite)) {
    return open_sqlite(address.substr(kSqlite.size()), connections);
  }
  if (address.starts_with("postgres://") || address.starts_with("postgresql://")) {
    return open_postgres(address, connections);
  }
  return fail(Kind::invalid, "sql.invalid_address",
              "a database address begins with sqlite:, postgres:// or postgresql://");
}

}  // namespace alga::sql
