// Without it the library ends the process where it does not understand a schema.
#define VALIJSON_USE_EXCEPTIONS 1

#include "json/schema.h"

#include <algorithm>
#include <array>
#include <boost/json/serialize.hpp>
#include <cmath>
#include <exception>
#include <optional>
#include <span>
#include <string_view>
#include <valijson/adapters/boost_json_adapter.hpp>
#include <valijson/schema.hpp>
#include <valijson/schema_parser.hpp>
#include <valijson/validation_results.hpp>
#include <valijson/validator.hpp>

#include "base/bytes.h"

namespace alga::json {
namespace {

constexpr std::size_t longest_message = 300;
/// Values times parts of the schema of which a failure is explained.
constexpr std::size_t most_explained = 50'000;
/// Beyond it a double no longer tells whole numbers apart.
constexpr double largest_whole = 9'007'199'254'740'992.0;

/// What stands behind a keyword.
enum class Holds { nothing, schema, schemas, schema_or_schemas, named_schemas, dependencies };

constexpr auto of_values = std::to_array<std::string_view>(
    {"$comment",      "$schema",  "const",     "default",          "description",
     "enum",          "examples", "maxItems",  "maxLength",        "maximum",
     "maxProperties", "minItems", "minLength", "minimum",          "minProperties",
     "multipleOf",    "readOnly", "required",  "exclusiveMaximum", "exclusiveMinimum",
     "title",         "type",     "writeOnly"});
constexpr auto of_a_schema =
    std::to_array<std::string_view>({"additionalItems", "additionalProperties", "contains", "else",
                                     "if", "not", "propertyNames", "then"});
constexpr auto of_schemas = std::to_array<std::string_view>({"allOf", "anyOf", "oneOf"});

/// Nothing for a keyword that is not understood here.
std::optional<Holds> holds(std::string_view keyword) {
  const auto is_among = [keyword](std::span<const std::string_view> keywords) {
    return std::ranges::find(keywords, keyword) != keywords.end();
  };
  if (is_among(of_values)) return Holds::nothing;
  if (is_among(of_a_schema)) return Holds::schema;
  if (is_among(of_schemas)) return Holds::schemas;
  if (keyword == "items") return Holds::schema_or_schemas;
  if (keyword == "properties") return Holds::named_schemas;
  if (keyword == "dependencies") return Holds::dependencies;
  return std::nullopt;
}

std::unexpected<Error> unsupported(std::string message) {
  return fail(Kind::invalid, "json.unsupported_schema", std::move(message));
}

/// Goes through a schema and everything in it.
class Inspection {
 public:
  Status check_schema(const Value& schema, const std::string& place);
  [[nodiscard]] std::size_t schemas() const { return schemas_; }

 private:
  Status check_list(const Value& list, const std::string& place);
  Status check_named(const Value& named, const std::string& place, bool names_allowed);
  Status check_held(Holds what, const Value& value, const std::string& place);

  std::size_t schemas_ = 0;
};

Status Inspection::check_list(const Value& list, const std::string& place) {
  if (!list.is_array()) return unsupported(place + " is not a list of schemas");
  for (std::size_t i = 0; i < list.get_array().size(); ++i) {
    TRY_VOID(check_schema(list.get_array()[i], place + "/" + std::to_string(i)));
  }
  return {};
}

Status Inspection::check_named(const Value& named, const std::string& place, bool names_allowed) {
  if (!named.is_object()) return unsupported(place + " is not an object");
  for (const auto& [name, member] : named.get_object()) {
    if (names_allowed && member.is_array()) continue;
    TRY_VOID(check_schema(member, place + "/" + std::string(name)));
  }
  return {};
}

Status Inspection::check_held(Holds what, const Value& value, const std::string& place) {
  switch (what) {
    case Holds::nothing: return {};
    case Holds::schema: return check_schema(value, place);
    case Holds::schemas: return check_list(value, place);
    case Holds::schema_or_schemas:
      return value.is_array() ? check_list(value, place) : check_schema(value, place);
    case Holds::named_schemas: return check_named(value, place, false);
    case Holds::dependencies: return check_named(value, place, true);
  }
  return {};
}

/// That a schema says nothing but what is understood here.
Status Inspection::check_schema(const Value& schema, const std::string& place) {
  if (++schemas_ > Schema::max_schemas) return unsupported("it has too many parts");
  if (schema.is_bool()) return {};
  if (!schema.is_object()) return unsupported(place + " is not a schema");
  for (const auto& [name, value] : schema.get_object()) {
    const std::string where = place + "/" + std::string(name);
    const std::optional<Holds> held = holds(name);
    if (!held) return unsupported(where + " is not supported");
    if (name == "$schema" &&
        (!value.is_string() || !std::string_view(value.get_string()).contains("draft-07"))) {
      return unsupported(where + " names another draft than draft-07");
    }
    if (name == "multipleOf" && (!value.is_number() || value.to_number<double>() <= 0)) {
      return unsupported(where + " is not a positive number");
    }
    TRY_VOID(check_held(*held, value, where));
  }
  return {};
}

/// For JSON Schema 3.0 is a whole number; for the checker it would not be one. Answers how many
/// values there are.
std::size_t make_whole(Value& value) {
  std::size_t count = 1;
  if (value.is_double()) {
    const double number = value.get_double();
    if (std::abs(number) < largest_whole && std::trunc(number) == number) {
      value = static_cast<std::int64_t>(number);
    }
  } else if (value.is_array()) {
    for (Value& item : value.get_array()) count += make_whole(item);
  } else if (value.is_object()) {
    for (auto& [name, member] : value.get_object()) count += make_whole(member);
  }
  return count;
}

std::string explain(valijson::ValidationResults& results) {
  // The innermost failure comes first and says most.
  valijson::ValidationResults::Error error;
  if (!results.popError(error)) return "the value does not fit its schema";
  std::string place;
  for (const std::string& part : error.context) place += part == "<root>" ? "" : part;
  std::string text = (place.empty() ? "the value" : place) + ": " + error.description;
  return std::string(utf8_prefix(text, longest_message));
}

}  // namespace

struct Schema::Compiled {
  valijson::Schema schema;
  std::size_t parts = 0;
};

Result<Schema> Schema::parse(std::string_view text) {
  TRY(Value document, json::parse(text, {.max_bytes = max_bytes, .max_depth = max_depth}));
  Inspection inspection;
  TRY_VOID(inspection.check_schema(document, ""));
  make_whole(document);
  auto compiled = std::make_shared<Compiled>();
  compiled->parts = inspection.schemas();
  try {
    valijson::SchemaParser parser(valijson::SchemaParser::kDraft7);
    parser.populateSchema(valijson::adapters::BoostJsonAdapter(document), compiled->schema);
  } catch (const std::exception& error) {
    return unsupported(std::string(utf8_prefix(error.what(), longest_message)));
  }
  return Schema(std::move(compiled));
}

Status Schema::check(const Value& value) const {
  Value whole = value;
  const std::size_t values = make_whole(whole);
  std::string why = "the value does not fit its schema";
  try {
    valijson::Validator validator(valijson::Validator::kStrongTypes);
    const valijson::adapters::BoostJsonAdapter adapted(whole);
    if (validator.validate(compiled_->schema, adapted, nullptr)) return {};
    // Again, writing down every branch that failed: where that is not too much.
    if (values * compiled_->parts <= most_explained) {
      valijson::ValidationResults results;
      validator.validate(compiled_->schema, adapted, &results);
      why = explain(results);
    }
  } catch (const std::exception& error) {
    why = utf8_prefix(error.what(), longest_message);
  }
  return fail(Kind::invalid, "json.schema_violation", std::move(why));
}

}  // namespace alga::json
