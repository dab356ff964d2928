#include "domain/install_config_codec.h"

#include <gtest/gtest.h>

namespace alga::domain {
namespace {

TEST(InstallConfigCodec, RefusesWhatIsNoInstallConfig) {
  for (const char* text : {"[]", "{}", R"({"tenantId":1})", R"({"tenantId":"t","installId":""})"}) {
    auto config = install_config_from_json(json::parse(text).value());
    ASSERT_FALSE(config) << text;
    EXPECT_EQ(config.error().code, "install_config.malformed") << text;
    EXPECT_EQ(config.error().kind, Kind::bad_gateway);
  }
}

InstallConfig config() {
  return {.tenant = *TenantId::parse("t1"),
          .slug = "acme.hello",
          .install = *InstallId::parse("i1"),
          .version = *VersionId::parse("v1"),
          .registry = *ExtensionId::parse("e1"),
          .content_hash = *ContentHash::parse(std::string(64, 'a')),
          .grant = "grant",
          .generation = "g1"};
}

TEST(InstallConfigCodec, BringsTheKeyOfKeptAnswers) {
  InstallConfig sent = config();
  auto read = install_config_from_json(install_config_to_json(sent));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_FALSE(read->answer_key) << "a control plane that is older has none";
  const std::string bytes = std::string(31, 'k') + '\0';
  sent.answer_key = std::make_shared<const AnswerKey>("k1", Secret(bytes));
  read = install_config_from_json(install_config_to_json(sent));
  ASSERT_TRUE(read) << read.error().message;
  ASSERT_TRUE(read->answer_key);
  EXPECT_EQ(read->answer_key->id, "k1");
  EXPECT_EQ(read->answer_key->bytes.reveal(), bytes);
}

TEST(InstallConfigCodec, RefusesAKeyOfKeptAnswersThatIsNone) {
  for (const char* text :
       {R"({"id":"k1","key":"c2hvcnQ="})", R"({"id":"k1","key":"?"})", R"({"id":"k1"})", R"("k1")",
        R"({"id":"k 1","key":"a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="})"}) {
    json::Value sent = install_config_to_json(config());
    sent.as_object()["answerKey"] = json::parse(text).value();
    const auto read = install_config_from_json(sent);
    ASSERT_FALSE(read) << text;
    EXPECT_EQ(read.error().code, "install_config.malformed");
  }
}

}  // namespace
}  // namespace alga::domain
