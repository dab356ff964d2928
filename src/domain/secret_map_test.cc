#include "domain/secret_map.h"

#include <gtest/gtest.h>

#include <string>
#include <type_traits>

namespace alga::domain {
namespace {

Result<SecretMap> parse(std::string_view text) {
  return SecretMap::from_json(crypto::LockedBytes::copy_of(as_bytes(text)));
}

TEST(SecretMap, ReadsAnObjectOfStrings) {
  auto map = parse(R"( {"b":"two","a":"o\u006ee\n\"\\ü","c":""} )");
  ASSERT_TRUE(map);
  EXPECT_EQ(map->reveal("a"), "one\n\"\\ü");
  EXPECT_EQ(map->reveal("b"), "two");
  EXPECT_EQ(map->reveal("c"), "");
  EXPECT_FALSE(map->reveal("d"));
  EXPECT_EQ(map->names(), (std::vector<std::string_view>{"a", "b", "c"}));
}

TEST(SecretMap, RefusesEverythingElseWithoutAPartialMap) {
  for (const char* text : {"",
                           "null",
                           "[]",
                           "\"a\"",
                           "1",
                           "{",
                           "{}x",
                           "{\"a\":1}",
                           "{\"a\":1.5}",
                           "{\"a\":true}",
                           "{\"a\":null}",
                           "{\"a\":{}}",
                           "{\"a\":[]}",
                           "{\"a\":[\"b\"]}",
                           "{\"a\":\"b\",}",
                           "{\"a\":\"1\",\"a\":\"2\"}",
                           "{\"a\":\"1\",\"\\u0061\":\"2\"}",
                           "{\"\":\"x\"}",
                           "{\"a\":\"\xFF\"}",
                           "{\"a\":\"\\ud800\"}",
                           "{}{}",
                           "{}/**/"}) {
    auto map = parse(text);
    ASSERT_FALSE(map) << text;
    EXPECT_EQ(map.error().code, "secret.malformed");
  }
}

TEST(SecretMap, RefusesMoreThanItsBounds) {
  EXPECT_FALSE(parse("{\"a\":\"" + std::string(SecretMap::max_json_bytes, 'x') + "\"}"));
  EXPECT_FALSE(parse("{\"" + std::string(257, 'n') + "\":\"\"}"));
  EXPECT_TRUE(parse("{\"" + std::string(256, 'n') + "\":\"\"}"));
  std::string many = "{";
  for (std::size_t i = 0; i <= SecretMap::max_secrets; ++i) {
    many += (i > 0 ? ",\"k" : "\"k") + std::to_string(i) + "\":\"\"";
  }
  EXPECT_FALSE(parse(many + "}"));
}

TEST(SecretMap, NeverRepeatsTheTextInItsMessages) {
  auto map = parse("{\"canary-name\":\"canary-value\",\"x\":1}");
  ASSERT_FALSE(map);
  EXPECT_EQ(map.error().message.find("canary"), std::string::npos);
}

TEST(SecretMap, WritesJsonThatItReadsBack) {
  auto map = SecretMap::from_pairs({{"b", "quote\" back\\ tab\t nul"}, {"a", "ü\x01"}});
  ASSERT_TRUE(map);
  EXPECT_EQ(map->to_json().reveal_text(),
            "{\"a\":\"ü\\u0001\",\"b\":\"quote\\\" back\\\\ tab\\u0009 nul\"}");
  auto again = SecretMap::from_json(map->to_json());
  ASSERT_TRUE(again);
  EXPECT_EQ(again->reveal("b"), map->reveal("b"));
  EXPECT_EQ(SecretMap{}.to_json().reveal_text(), "{}");
  EXPECT_TRUE(SecretMap::from_json(SecretMap{}.to_json())->empty());
}

TEST(SecretMap, RefusesPairsThatAreNoSecrets) {
  EXPECT_FALSE(SecretMap::from_pairs({{"a", "1"}, {"a", "2"}}));
  EXPECT_FALSE(SecretMap::from_pairs({{"", "1"}}));
  EXPECT_FALSE(SecretMap::from_pairs({{"a", "\xFF"}}));
  std::string large(SecretMap::max_json_bytes, 'x');
  EXPECT_FALSE(SecretMap::from_pairs({{"a", large}}));
}

TEST(SecretMap, MasksItsValuesInText) {
  auto map = parse(R"({"a":"hunter2-hunter2","b":"hunter2-","short":"1234567","empty":"",
                       "pem":"-----BEGIN-----\nMIIBVQIBADAN\nqq==\n"})");
  ASSERT_TRUE(map);
  EXPECT_EQ(map->mask("key=hunter2-hunter2;hunter2-x"), "key=[secret];[secret]x")
      << "the longer one first";
  EXPECT_EQ(map->mask("line MIIBVQIBADAN of a value, and qq=="),
            "line [secret] of a value, and qq==");
  EXPECT_EQ(map->mask("1234567 is in any text"), "1234567 is in any text");
  EXPECT_EQ(map->mask("[secret][secret]"), "[secret][secret]");
  EXPECT_EQ(map->mask(""), "");
  EXPECT_EQ(SecretMap().mask("nothing to hide"), "nothing to hide");
  EXPECT_EQ(SecretMap().longest_masked(), 0U);
}

TEST(SecretMap, StaysUsableAfterAMove) {
  auto map = SecretMap::from_pairs({{"a", "1"}});
  SecretMap moved = *std::move(map);
  EXPECT_EQ(moved.reveal("a"), "1");
  EXPECT_EQ(moved.memory(), 2U);
}

TEST(SecretName, IsPlain) {
  EXPECT_TRUE(is_secret_name("api_key"));
  EXPECT_TRUE(is_secret_name("a.b-c"));
  for (const char* name : {"", "a/b", "..", "a..b", "a b", "a\n", "ä", "a:b"}) {
    EXPECT_FALSE(is_secret_name(name)) << name;
  }
  EXPECT_FALSE(is_secret_name(std::string_view{"a\0b", 3}));
  EXPECT_FALSE(is_secret_name(std::string(129, 'a')));
}

static_assert(!std::is_copy_constructible_v<SecretMap>);

}  // namespace
}  // namespace alga::domain
