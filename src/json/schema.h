#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "json/parse.h"

namespace alga::json {

/// A JSON Schema (draft 7) that values are held against. Whoever writes a schema and whoever writes
/// values need not be trusted: what makes checking expensive or refers elsewhere is refused, so
/// that a check costs little. Understood are the keywords of type, enum and const; numbers, lengths
/// and counts; properties, required, additionalProperties, propertyNames, dependencies, items,
/// additionalItems, contains; allOf, anyOf, oneOf, not, if, then, else; and the annotations.
/// Refused are $ref, pattern, patternProperties, format, uniqueItems, and every word that draft 7
/// does not know. Immutable; check() may be called from any thread.
class Schema {
 public:
  /// Largest schema as text, how many schemas it may consist of, and how deep they may lie in one
  /// another. A check costs at most their number times that of the values, some 0.1 µs each.
  static constexpr std::size_t max_bytes = 32U << 10U;
  static constexpr std::size_t max_schemas = 200;
  static constexpr std::size_t max_depth = 16;

  /// Errors (Kind::invalid): `json.unsupported_schema` naming the place, and those of parse().
  [[nodiscard]] static Result<Schema> parse(std::string_view text);

  /// Error (Kind::invalid): `json.schema_violation`; the message says where, and what was wanted.
  [[nodiscard]] Status check(const Value& value) const;

 private:
  struct Compiled;
  explicit Schema(std::shared_ptr<const Compiled> compiled) : compiled_(std::move(compiled)) {}
  std::shared_ptr<const Compiled> compiled_;
};

}  // namespace alga::json
