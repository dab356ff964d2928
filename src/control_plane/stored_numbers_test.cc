// A number that was stored is the number that comes back.

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <random>

#include "control_plane/core.h"
#include "json/parse.h"

namespace alga::control_plane {
namespace {

TEST(StoredNumbers, ComeBackAsThemselves) {
  for (const char* text :
       {"0.1", "1e23", "5e-324", "123456789012345678", "-0.0", "1.7976931348623157e308",
        "2.2250738585072014e-308", "0.30000000000000004", "9007199254740993",
        "-9223372036854775808", "18446744073709551615", "8.41e21", "9.5e-323",
        "3.0000000000000004e-17"}) {
    const auto value = json::parse(text);
    ASSERT_TRUE(value) << text;
    EXPECT_EQ(from_column(to_text(*value), "value").value(), *value) << text;
  }
}

TEST(StoredNumbers, ComeBackAsThemselvesWhicheverTheyAre) {
  std::mt19937_64 generator(7);
  int changed = 0;
  for (int i = 0; i < 100'000; ++i) {
    const auto number = std::bit_cast<double>(generator());
    if (!std::isfinite(number)) continue;
    const auto read = from_column(to_text(boost::json::value(number)), "value");
    if (read.value().to_number<double>() != number) ++changed;
  }
  EXPECT_EQ(changed, 0);
}

}  // namespace
}  // namespace alga::control_plane
