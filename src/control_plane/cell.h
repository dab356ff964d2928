#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"

namespace alga::control_plane {

/// `sql.malformed_cell` (internal), naming the column and nothing of its text: what stands there is
/// nothing that this program writes, so somebody else has.
[[nodiscard]] inline std::unexpected<Error> malformed_cell(std::string_view column) {
  return fail(Kind::internal, "sql.malformed_cell",
              "a row's " + std::string(column) + " is nothing that is written there");
}

/// The id or the hash that this program wrote into `column`, else that error.
template <class Parsed>
[[nodiscard]] Result<Parsed> parsed_cell(std::string_view text, std::string_view column) {
  auto parsed = Parsed::parse(text);
  if (!parsed) return malformed_cell(column);
  return *std::move(parsed);
}

}  // namespace alga::control_plane
