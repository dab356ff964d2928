#pragma once

#include <boost/json/value.hpp>
#include <cstddef>
#include <string>
#include <string_view>

#include "base/result.h"

namespace alga::json {

using Value = boost::json::value;

/// What a document may cost before it is looked at.
struct ParseLimits {
  std::size_t max_bytes = 1U << 20U;
  std::size_t max_depth = 32;
};

/// Parses one JSON document (RFC 8259) and nothing after it but blanks. Stricter than the RFC asks:
/// duplicate member names, ill-formed UTF-8, lone surrogates, numbers beyond a double, comments and
/// trailing commas are refused. Errors (Kind::invalid): `json.malformed`, `json.duplicate_member`,
/// `json.too_deep`; `json.too_large` (Kind::too_large). Messages carry the byte offset and never a
/// value of the document.
[[nodiscard]] Result<Value> parse(std::string_view text, const ParseLimits& limits = {});

/// One spelling for one value: members sorted by their UTF-8 bytes, no blanks, shortest escapes.
/// Equal values give equal text, so it can be hashed and signed.
[[nodiscard]] std::string canonical(const Value& value);

}  // namespace alga::json
