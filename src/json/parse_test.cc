#include "json/parse.h"

#include <gtest/gtest.h>

#include <boost/json/serialize.hpp>
#include <cstdlib>
#include <string>

namespace alga::json {
namespace {

std::string code_of(std::string_view text, const ParseLimits& limits = {}) {
  Result<Value> value = parse(text, limits);
  return value ? "" : std::string(value.error().code);
}

TEST(JsonParse, ReadsAllKindsOfValues) {
  auto value = parse(R"( {"a":[1,-2,3.5,true,null,"x\u00e9"],"b":18446744073709551615} )");
  ASSERT_TRUE(value) << value.error().message;
  EXPECT_EQ(value->at("a").as_array().size(), 6U);
  EXPECT_EQ(value->at("a").as_array()[5].as_string(), "xé");
  EXPECT_EQ(value->at("b").as_uint64(), 18446744073709551615U);
}

TEST(JsonParse, RefusesADuplicateMemberAtAnyDepth) {
  EXPECT_EQ(code_of(R"({"a":1,"a":2})"), "json.duplicate_member");
  EXPECT_EQ(code_of(R"([{"x":{"k":1,"b":2,"\u006b":3}}])"), "json.duplicate_member");
  EXPECT_EQ(code_of(R"({"":1,"":2})"), "json.duplicate_member");
  EXPECT_EQ(code_of(R"({"a":{"a":1},"b":{"a":1}})"), "");
}

TEST(JsonParse, RefusesWhatIsNotStrictJson) {
  for (const char* text : {"", " ", "{", "[1,]", "{\"a\":1,}", "// c\n1", "01", "NaN", "Infinity",
                           "'a'", "{a:1}", "1 2", "{} x", "\"\\ud800\"", "\"\xC0\xAF\"",
                           "\"\xED\xA0\x80\"", "\"a\nb\"", "1e999", "tru"}) {
    EXPECT_EQ(code_of(text), "json.malformed") << text;
  }
}

TEST(JsonParse, RefusesDepthBeyondTheLimitWithoutRecursing) {
  EXPECT_EQ(code_of(std::string(32, '[') + std::string(32, ']')), "");
  EXPECT_EQ(code_of(std::string(33, '[') + std::string(33, ']')), "json.too_deep");
  EXPECT_EQ(code_of(std::string(900'000, '[')), "json.too_deep");
}

TEST(JsonParse, RefusesMoreBytesThanAllowed) {
  EXPECT_EQ(code_of("[1,2]", {.max_bytes = 4}), "json.too_large");
  EXPECT_EQ(code_of("[1,2]", {.max_bytes = 5}), "");
}

TEST(JsonParse, NeverRepeatsAValueInItsMessage) {
  auto value = parse(R"({"password":"hunter2","password":"hunter3"})");
  ASSERT_FALSE(value);
  EXPECT_EQ(value.error().message.find("hunter"), std::string::npos);
}

TEST(JsonParse, KeepsLongStringsAndKeysWhole) {
  std::string longest(200'000, 'x');
  auto value = parse("{\"" + longest + "\":\"" + longest + "\"}");
  ASSERT_TRUE(value);
  EXPECT_EQ(value->as_object().at(longest).as_string().size(), longest.size());
}

TEST(JsonCanonical, SortsMembersAndDropsBlanks) {
  auto value = parse(R"({ "b" : [ { } , {"z":1,"a":"\u00e9\n"} ] , "a" : {} })");
  ASSERT_TRUE(value);
  EXPECT_EQ(canonical(*value), "{\"a\":{},\"b\":[{},{\"a\":\"é\\n\",\"z\":1}]}");
}

TEST(JsonCanonical, ReadsBackEveryNumberAsItself) {
  for (const char* text : {"2333333333333333333333333333333333", "0.1", "-1.5e-7", "1e308",
                           "18446744073709551616", "5e-324", "123456789.123456789", "1.0"}) {
    auto value = parse(text);
    ASSERT_TRUE(value) << text;
    EXPECT_EQ(parse(canonical(*value))->as_double(), value->as_double()) << text;
    EXPECT_EQ(value->as_double(), std::strtod(text, nullptr)) << text;
  }
}

TEST(JsonCanonical, GivesEqualTextForEqualValues) {
  EXPECT_EQ(canonical(parse(R"({"x":1,"y":[2]})").value()),
            canonical(parse(R"({ "y":[2], "x":1 })").value()));
}

}  // namespace
}  // namespace alga::json
