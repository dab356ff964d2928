#include <utility>

#include "sql/database.h"
#include "sql/postgres.h"
#include "sql/sqlite.h"

namespace alga::sql {

Result<std::unique_ptr<Listener>> Database::listen(std::string_view, SteadyTime) {
  return fail(Kind::internal, "sql.no_notifications", "this database pushes nothing");
}

namespace {

constexpr std::string_view kSqlite = "sqlite:";

bool is_postgres(std::string_view address) {
  return address.starts_with("postgres://") || address.starts_with("postgresql://");
}

}  // namespace

Status check_address(const std::string& address) {
  if (is_postgres(address)) return check_postgres_address(address);
  if (address.starts_with(kSqlite) && address.size() > kSqlite.size()) return {};
  return fail(Kind::invalid, "sql.invalid_address",
              "a database address begins with sqlite:, postgres:// or postgresql://");
}

Result<std::unique_ptr<Database>> open_database(const std::string& address, OpenOptions options) {
  TRY_VOID(check_address(address));
  if (is_postgres(address)) return open_postgres(address, std::move(options));
  return open_sqlite(address.substr(kSqlite.size()), options.connections);
}

Result<std::unique_ptr<Database>> open_database(const std::string& address,
                                                std::uint32_t connections) {
  return open_database(address, OpenOptions{.connections = connections});
}

}  // namespace alga::sql
