#include "control_plane/setting_text.h"

#include <gtest/gtest.h>

#include "json/parse.h"

namespace alga::control_plane {
namespace {

std::string text_of(std::string_view json) { return setting_text(json::parse(json).value()); }

TEST(SettingText, LeavesTextAndMakesNothingOfNull) {
  EXPECT_EQ(text_of(R"("a \" b")"), "a \" b");
  EXPECT_EQ(text_of("null"), "");
}

TEST(SettingText, WritesNumbersAsJavaScriptDoes) {
  for (const auto& [given, text] : std::initializer_list<std::pair<const char*, const char*>>{
           {"0", "0"},
           {"-0", "0"},
           {"-0.0", "0"},
           {"7", "7"},
           {"-7", "-7"},
           {"0.5", "0.5"},
           {"-1.25", "-1.25"},
           {"1e5", "100000"},
           {"2.0", "2"},
           {"0.1", "0.1"},
           {"0.000001", "0.000001"},
           {"0.0000001", "1e-7"},
           {"1.5e-10", "1.5e-10"},
           {"1e21", "1e+21"},
           {"123456789012345680000", "123456789012345680000"},
           {"1e30", "1e+30"},
           {"1.7976931348623157e308", "1.7976931348623157e+308"},
           {"5e-324", "5e-324"},
           {"9007199254740993", "9007199254740993"}}) {
    EXPECT_EQ(text_of(given), text) << given;
  }
}

TEST(SettingText, WritesTheRestAsJsonInItsOrder) {
  EXPECT_EQ(text_of("true"), "true");
  EXPECT_EQ(text_of("[]"), "[]");
  EXPECT_EQ(text_of("{}"), "{}");
  EXPECT_EQ(text_of(R"({"z": [0.5, null, "\"", {"a": 1e3}], "\n": false})"),
            R"({"z":[0.5,null,"\"",{"a":1000}],"\n":false})");
}

}  // namespace
}  // namespace alga::control_plane
