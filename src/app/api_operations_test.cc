#include "app/api_operations.h"

#include <gtest/gtest.h>

namespace alga::app {
namespace {

TEST(ApiOperations, AreNoneOfADocumentThatIsNone) {
  for (const char* document : {"", "no JSON", "{", "{} {}"}) {
    const auto operations = api_operations(document);
    ASSERT_FALSE(operations) << document;
    EXPECT_EQ(operations.error().code, "internal.unexpected") << document;
  }
}

TEST(ApiOperations, AreThoseThatNameACommand) {
  const auto operations = api_operations(
      R"({"paths":{"/a":{"get":{"summary":"Not for people."},
          "put":{"x-command":"things set","summary":"Sets it.","x-caller":"operator"}}}})");
  ASSERT_TRUE(operations) << operations.error().message;
  ASSERT_EQ(operations->size(), 1U);
  EXPECT_EQ(operations->front().words, (std::vector<std::string>{"things", "set"}));
  EXPECT_EQ(operations->front().method + " " + operations->front().path, "PUT /a");
  EXPECT_EQ(operations->front().caller, "operator");
}

}  // namespace
}  // namespace alga::app
