#include "json/schema.h"

#include <gtest/gtest.h>

#include <ctime>

namespace alga::json {
namespace {

/// "" when `value` fits, else the code.
std::string check(std::string_view schema, std::string_view value) {
  auto parsed = Schema::parse(schema);
  if (!parsed) return std::string(parsed.error().code) + ": " + parsed.error().message;
  const Status checked = parsed->check(parse(value).value());
  return checked ? "" : std::string(checked.error().code);
}

constexpr std::string_view violation = "json.schema_violation";

struct Case {
  const char* schema;
  const char* good;
  const char* bad;
};

TEST(JsonSchema, HoldsValuesToEveryKeywordThatItUnderstands) {
  // Each row: a schema, a value that fits, one that does not (JSON Schema draft 7, validation).
  const Case cases[] = {
      {R"({"type":"object"})", "{}", "[]"},
      {R"({"type":["string","null"]})", "null", "1"},
      {R"({"type":"integer"})", "3.0", "3.5"},
      {R"({"type":"number"})", "3", "\"3\""},
      {R"({"enum":[1,"a",{"b":null}]})", R"({"b":null})", "2"},
      {R"({"const":{"a":[1]}})", R"({"a":[1]})", R"({"a":[2]})"},
      {R"({"minimum":3})", "3", "2"},
      {R"({"exclusiveMaximum":3})", "2.9", "3"},
      {R"({"multipleOf":3})", "9", "10"},
      {R"({"minLength":2})", "\"äö\"", "\"ä\""},
      {R"({"maxLength":2})", "\"äö\"", "\"äöü\""},
      {R"({"required":["a"]})", R"({"a":1})", "{}"},
      {R"({"properties":{"a":{"type":"string"}}})", R"({"a":""})", R"({"a":1})"},
      {R"({"properties":{"a":true},"additionalProperties":false})", R"({"a":1})", R"({"b":1})"},
      {R"({"propertyNames":{"maxLength":1}})", R"({"a":1})", R"({"ab":1})"},
      {R"({"minProperties":1})", R"({"a":1})", "{}"},
      {R"({"maxProperties":1})", R"({"a":1})", R"({"a":1,"b":1})"},
      {R"({"dependencies":{"a":["b"]}})", R"({"a":1,"b":1})", R"({"a":1})"},
      {R"({"dependencies":{"a":{"required":["c"]}}})", R"({"a":1,"c":1})", R"({"a":1})"},
      {R"({"items":{"type":"integer"}})", "[1,2]", "[1,\"2\"]"},
      {R"({"items":[{"type":"integer"}],"additionalItems":false})", "[1]", "[1,2]"},
      {R"({"contains":{"const":1}})", "[0,1]", "[0]"},
      {R"({"minItems":1})", "[0]", "[]"},
      {R"({"maxItems":1})", "[0]", "[0,0]"},
      {R"({"allOf":[{"minimum":1},{"maximum":2}]})", "2", "3"},
      {R"({"anyOf":[{"type":"null"},{"minimum":1,"type":"integer"}]})", "1", "0"},
      {R"({"oneOf":[{"minimum":1},{"maximum":2}]})", "0", "1"},
      {R"({"not":{"type":"null"}})", "1", "null"},
      {R"({"if":{"minimum":10},"then":{"multipleOf":10},"else":{"maximum":5}})", "20", "15"},
      {"false", "1", "1"},
      {"true", "1", ""},
  };
  for (const Case& row : cases) {
    if (std::string_view(row.schema) != "false") {
      EXPECT_EQ(check(row.schema, row.good), "") << row.schema << " " << row.good;
    }
    if (*row.bad != '\0') EXPECT_EQ(check(row.schema, row.bad), violation) << row.schema;
  }
}

TEST(JsonSchema, SaysWhereAValueDoesNotFit) {
  const auto schema =
      Schema::parse(R"({"properties":{"list":{"items":{"type":"integer"}}}})").value();
  const Status checked = schema.check(parse(R"({"list":[1,"secret-of-the-value"]})").value());
  ASSERT_FALSE(checked);
  EXPECT_NE(checked.error().message.find("[list][1]"), std::string::npos)
      << checked.error().message;
  EXPECT_EQ(checked.error().message.find("secret-of-the-value"), std::string::npos);
}

TEST(JsonSchema, RefusesWhatReadsElsewhereOrCostsTooMuch) {
  for (const char* schema : {
           R"({"$ref":"#"})",
           R"({"$id":"http://x/y"})",
           R"({"definitions":{}})",
           R"({"pattern":"(a+)+$"})",
           R"({"patternProperties":{"(a+)+$":true}})",
           R"({"format":"regex"})",
           R"({"uniqueItems":true})",
           R"({"unheardOf":1})",
           R"({"properties":{"a":{"pattern":"x"}}})",
           R"({"items":[{"not":{"$ref":"#"}}]})",
           R"({"$schema":"http://json-schema.org/draft-04/schema#"})",
           R"({"multipleOf":0})",
           R"({"type":"thing"})",
           R"({"properties":[]})",
           R"({"minLength":-1})",
           R"({"allOf":{}})",
           "1",
       }) {
    EXPECT_TRUE(check(schema, "1").starts_with("json.unsupported_schema")) << schema;
  }
  std::string many = "true";
  for (int i = 0; i < 200; ++i) many += ",true";
  EXPECT_TRUE(check(R"({"anyOf":[)" + many + "]}", "1").starts_with("json.unsupported_schema"));
  std::string deep = "true";
  for (int i = 0; i < 20; ++i) deep = R"({"not":)" + deep + "}";
  EXPECT_TRUE(check(deep, "1").starts_with("json.too_deep"));
  EXPECT_TRUE(
      check(R"({"title":")" + std::string(40'000, 'x') + "\"}", "1").starts_with("json.too_large"));
  EXPECT_TRUE(check("{", "1").starts_with("json.malformed"));
}

TEST(JsonSchema, ChecksTheLargestValueAgainstAWideSchemaSoon) {
  std::string schema = R"({"items":{"anyOf":[)";
  for (int i = 0; i < 195; ++i) schema += R"({"const":)" + std::to_string(-1 - i) + "},";
  schema += R"({"type":"integer"}]}})";
  std::string value = "[0";
  while (value.size() < 64'000) value += ",1";
  value += "]";
  const std::clock_t began = std::clock();
  EXPECT_EQ(check(schema, value), "");
  value.replace(value.size() - 2, 2, "-]").replace(value.size() - 2, 2, "9.5]");
  EXPECT_EQ(check(schema, value), violation);
  EXPECT_LT((std::clock() - began) / CLOCKS_PER_SEC, 20)
      << "seconds of computing, on any machine, with any sanitizer";
}

}  // namespace
}  // namespace alga::json
