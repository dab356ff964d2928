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

}  // namespace
}  // namespace alga::domain
