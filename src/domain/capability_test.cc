#include "domain/capability.h"

#include <gtest/gtest.h>

#include <boost/json/object.hpp>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "json/decode.h"

namespace alga::domain {
namespace {

TEST(Capability, EveryNameParsesToItself) {
  for (std::size_t i = 0; i < capability_count; ++i) {
    auto capability = static_cast<Capability>(i);
    EXPECT_EQ(parse_capability(name(capability)), capability);
    EXPECT_EQ(parse_capability(name(capability).substr(4)), capability);
  }
}

TEST(Capability, ForgivesBlanksCaseAndOlderSpellings) {
  EXPECT_EQ(parse_capability("  CAP:Http.Fetch\t"), Capability::http_fetch);
  EXPECT_EQ(parse_capability("alga.storage"), Capability::storage_kv);
  EXPECT_EQ(parse_capability("config.read"), Capability::config_read);
}

TEST(Capability, KnowsNothingElse) {
  for (const char* text : {"", "cap:", "cap:cap:http.fetch", "cap:http", "http.fetch.",
                           "http fetch", "cap:http.fetch,cap:storage.kv", "cap:\xD0\xBAv"}) {
    if (std::string_view{text} == "cap:http") continue;  // an older spelling
    EXPECT_FALSE(parse_capability(text)) << text;
  }
}

TEST(Capability, NamesAllUnknownOnesInOneMessage) {
  auto set = parse_capabilities(std::vector<std::string>{"http.fetch", " Cap:B ", "a"});
  ASSERT_FALSE(set);
  EXPECT_EQ(set.error().code, "capability.unknown");
  EXPECT_EQ(set.error().message, "unknown_capabilities: cap:b, a");
}

TEST(Capability, RefusesAnEmptyNameAndKeepsTheMessageBounded) {
  EXPECT_EQ(parse_capabilities(std::vector<std::string>{""}).error().code, "capability.unknown");
  auto set = parse_capabilities(std::vector<std::string>(10'000, std::string(10'000, 'x')));
  ASSERT_FALSE(set);
  EXPECT_LT(set.error().message.size(), 4096U);
  auto forged = parse_capabilities(std::vector<std::string>{"a\nlevel=error"});
  EXPECT_FALSE(forged.error().message.contains('\n'));
}

TEST(CapabilitySet, IntersectsAndLists) {
  CapabilitySet asked{Capability::http_fetch, Capability::storage_kv};
  CapabilitySet granted{Capability::storage_kv, Capability::secrets_get};
  EXPECT_EQ(asked.intersection(granted), CapabilitySet{Capability::storage_kv});
  EXPECT_EQ(asked.without(granted), CapabilitySet{Capability::http_fetch});
  EXPECT_EQ(asked.united(granted).size(), 3U);
  EXPECT_TRUE(asked.contains(CapabilitySet{Capability::http_fetch}));
  EXPECT_FALSE(asked.contains(granted));
  EXPECT_EQ(asked.names(), (std::vector<std::string>{"cap:http.fetch", "cap:storage.kv"}));
}

TEST(CapabilitySet, DefaultsAreTheThreeOfTheReference) {
  EXPECT_EQ(default_capabilities().names(),
            (std::vector<std::string>{"cap:context.read", "cap:log.emit", "cap:user.read"}));
}

TEST(Capability, AgreesWithTheFileThatIsGeneratedFromTheWit) {
  std::ifstream file(ALGA_SCHEMA_DIR "/capabilities.json");
  std::string text{std::istreambuf_iterator<char>(file), {}};
  auto document = json::parse(text);
  ASSERT_TRUE(document) << document.error().message;
  std::size_t checked = 0;
  for (const auto& package : document->at("packages").as_object()) {
    for (const auto& entry : package.value().as_object()) {
      auto capability = capability_of_interface(entry.key());
      ASSERT_TRUE(capability) << entry.key();
      EXPECT_EQ(name(*capability), entry.value().as_string());
      ++checked;
    }
  }
  EXPECT_GE(checked, 20U);
  CapabilitySet defaults;
  for (const auto& entry : document->at("default").as_array()) {
    defaults.insert(parse_capability(entry.as_string()).value());
  }
  EXPECT_EQ(defaults, default_capabilities());
}

TEST(Capability, NoInterfaceIsGuardedThatNobodyKnows) {
  EXPECT_FALSE(capability_of_interface("types"));
  EXPECT_FALSE(capability_of_interface("sockets"));
}

}  // namespace
}  // namespace alga::domain
