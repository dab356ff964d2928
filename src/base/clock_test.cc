#include "base/clock.h"

#include <gtest/gtest.h>

namespace alga {
namespace {

TEST(Rfc3339, ReadsWhatItWrites) {
  WallTime time{std::chrono::milliseconds{1'795'000'000'123}};
  EXPECT_EQ(format_rfc3339(time), "2026-11-18T11:06:40.123Z");
  EXPECT_EQ(parse_rfc3339(format_rfc3339(time)), time);
}

TEST(Rfc3339, AppliesTheOffset) {
  EXPECT_EQ(parse_rfc3339("2026-11-18T13:06:40.123456+02:00"),
            parse_rfc3339("2026-11-18T11:06:40.123Z"));
}

TEST(Rfc3339, RefusesWhatIsNoDateTime) {
  for (std::string_view text :
       {"", "2026-02-30T00:00:00Z", "2026-11-18", "2026-11-18T05:06:40", "2026-11-18T25:06:40Z",
        "2026-11-18T05:06:40.Z", "2026-11-18T05:06:40Zx", "2026-13-18T05:06:40Z"}) {
    EXPECT_EQ(parse_rfc3339(text), std::nullopt) << text;
  }
}

TEST(ManualClock, MovesBothTimesTogether) {
  ManualClock clock;
  auto wall = clock.wall();
  auto steady = clock.steady();
  clock.advance(std::chrono::seconds{2});
  EXPECT_EQ(clock.wall() - wall, std::chrono::seconds{2});
  EXPECT_EQ(clock.steady() - steady, std::chrono::seconds{2});
}

}  // namespace
}  // namespace alga
