#pragma once

#include <string>
#include <string_view>

#include "sql/database.h"

namespace alga::control_plane {

/// The condition that a row of `table` is one of those that `which` (`WHERE … ORDER BY … LIMIT …`)
/// selects, by the row's place: the selection is made once and its rows are gone to directly. With
/// keys in place of that, PostgreSQL makes the selection anew for every row of a table that has
/// grown since it was last analysed. `Held::skipped` leaves rows out that another transaction has
/// locked, so that nobody waits for anybody.
enum class Held : bool { waited_for, skipped };
[[nodiscard]] inline std::string is_one_of(sql::Dialect dialect, std::string_view table,
                                           std::string_view which, Held held = Held::waited_for) {
  const bool sqlite = dialect == sql::Dialect::sqlite;
  const std::string place = sqlite ? "rowid" : "ctid";
  std::string selection = "SELECT " + place + " FROM ";
  selection.append(table).append(" ").append(which);
  if (!sqlite && held == Held::skipped) selection.append(" FOR UPDATE SKIP LOCKED");
  return sqlite ? place + " IN (" + selection + ")" : place + " = ANY (ARRAY (" + selection + "))";
}

}  // namespace alga::control_plane
