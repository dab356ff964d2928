#include "base/secret.h"

#include <gtest/gtest.h>

#include <sstream>

namespace alga {
namespace {

template <class T>
concept Printable = requires(std::ostream& out, const T& value) { out << value; };

static_assert(!Printable<Secret>);
static_assert(!std::is_copy_constructible_v<Secret>);
static_assert(!std::is_convertible_v<Secret, std::string_view>);

TEST(Secret, AMovedFromSecretHoldsNothing) {
  Secret source{std::string{"short"}};
  Secret target{std::move(source)};
  EXPECT_EQ(target.reveal(), "short");
  EXPECT_TRUE(source.empty());  // NOLINT(bugprone-use-after-move): that is what is tested
}

TEST(Secret, ComparesContent) {
  Secret secret{std::string{"value"}};
  EXPECT_TRUE(secret.equals("value"));
  EXPECT_FALSE(secret.equals("valuf"));
  EXPECT_FALSE(secret.equals("value2"));
}

}  // namespace
}  // namespace alga
