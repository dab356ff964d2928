#include "base/random.h"

#include <gtest/gtest.h>

namespace alga {
namespace {

TEST(UuidV7, CarriesVersionVariantAndTime) {
  ManualClock clock{WallTime{std::chrono::milliseconds{0x018F'0000'0001}}};
  SystemRandom random;
  std::string id = uuid_v7(clock, random);
  ASSERT_EQ(id.size(), 36U);
  EXPECT_EQ(id.substr(0, 13), "018f0000-0001");
  EXPECT_EQ(id[14], '7');
  EXPECT_TRUE(id[19] == '8' || id[19] == '9' || id[19] == 'a' || id[19] == 'b');
  EXPECT_NE(uuid_v7(clock, random), id);
}

}  // namespace
}  // namespace alga
