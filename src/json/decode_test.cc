#include "json/decode.h"

#include <gtest/gtest.h>

namespace alga::json {
namespace {

Document document(std::string_view text) {
  auto parsed = Document::parse(text);
  EXPECT_TRUE(parsed);
  return std::move(parsed).value();
}

template <class T>
void expect_error(const Result<T>& result, std::string_view code, std::string_view path) {
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, code);
  EXPECT_TRUE(result.error().message.starts_with(path)) << result.error().message;
}

TEST(JsonObject, ReadsTypedMembers) {
  Document doc = document(
      R"({"s":"x","n":7,"b":true,"o":{"k":"v"},"l":["a","b"],"m":{"k":"v"},"i":[{"q":1}]})");
  Object root = doc.root();
  EXPECT_EQ(root.string("s").value(), "x");
  EXPECT_EQ(root.integer("n", 0, 9).value(), 7);
  EXPECT_TRUE(root.boolean("b").value());
  EXPECT_EQ(root.object("o").value().string("k").value(), "v");
  EXPECT_EQ(root.strings("l").value().size(), 2U);
  EXPECT_EQ(root.string_map("m").value().at("k"), "v");
  EXPECT_EQ(root.objects("i").value().front().integer("q").value(), 1);
  EXPECT_TRUE(root.finish());
}

TEST(JsonObject, TakesAbsentAndNullOptionalMembersAsNone) {
  Document doc = document(R"({"a":null})");
  Object root = doc.root();
  EXPECT_FALSE(root.optional_string("a").value().has_value());
  EXPECT_FALSE(root.optional_string("b").value().has_value());
  EXPECT_FALSE(root.optional_integer("a").value().has_value());
  EXPECT_FALSE(root.optional_boolean("b").value().has_value());
  EXPECT_FALSE(root.optional_object("b").value().has_value());
  EXPECT_FALSE(root.optional_strings("b").value().has_value());
  EXPECT_TRUE(root.string_map("b").value().empty());
  EXPECT_TRUE(root.objects("b").value().empty());
}

TEST(JsonObject, NamesThePathOfAMissingMember) {
  Document doc = document(R"({"o":{}})");
  Object root = doc.root();
  expect_error(root.string("s"), "json.missing_member", "/s ");
  expect_error(root.object("o").value().integer("n"), "json.missing_member", "/o/n ");
}

TEST(JsonObject, NamesThePathOfAWrongType) {
  Document doc =
      document(R"({"s":1,"n":1.5,"b":"true","l":["a",1],"o":[{}],"m":{"a/b":1},"z":null})");
  Object root = doc.root();
  expect_error(root.string("s"), "json.wrong_type", "/s ");
  expect_error(root.integer("n"), "json.wrong_type", "/n ");
  expect_error(root.boolean("b"), "json.wrong_type", "/b ");
  expect_error(root.strings("l"), "json.wrong_type", "/l ");
  expect_error(root.object("o"), "json.wrong_type", "/o ");
  expect_error(root.string_map("m"), "json.wrong_type", "/m/a~1b ");
  expect_error(root.string("z"), "json.wrong_type", "/z ");
  expect_error(root.objects("l"), "json.wrong_type", "/l/0 ");
}

TEST(JsonObject, RefusesNumbersAndStringsOutOfRange) {
  Document doc = document(R"({"n":11,"u":18446744073709551615,"s":"four","l":["a","b"]})");
  Object root = doc.root();
  expect_error(root.integer("n", 0, 10), "json.out_of_range", "/n ");
  expect_error(root.integer("u"), "json.out_of_range", "/u ");
  expect_error(root.string("s", 3), "json.out_of_range", "/s ");
  expect_error(root.strings("l", 1), "json.out_of_range", "/l ");
}

TEST(JsonObject, RefusesMembersThatNobodyRead) {
  Document doc = document(R"({"known":1,"ünknown":2})");
  Object root = doc.root();
  EXPECT_TRUE(root.integer("known"));
  expect_error(root.finish(), "json.unknown_member", "/ünknown ");
}

TEST(JsonObject, KeepsControlCharactersOfNamesOutOfMessages) {
  Document doc = document("{\"a\\nfake log line\":1}");
  Object root = doc.root();
  expect_error(root.finish(), "json.unknown_member", "/a?fake");
}

TEST(JsonDocument, RefusesARootThatIsNoObject) {
  expect_error(Document::parse("[1]"), "json.wrong_type", "the document ");
}

}  // namespace
}  // namespace alga::json
