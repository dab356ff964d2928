#include <algorithm>

#include "json/parse.h"
#include "property.h"

namespace {

using alga::json::Value;

// Boost.JSON 1.81 may read a number that is no 64-bit integer one unit in the last place off.
bool has_inexact_number(const Value& value) {
  if (value.is_double()) return true;
  if (const auto* array = value.if_array()) {
    return std::ranges::any_of(*array, has_inexact_number);
  }
  if (const auto* object = value.if_object()) {
    return std::ranges::any_of(
        *object, [](const auto& member) { return has_inexact_number(member.value()); });
  }
  return false;
}

}  // namespace

// Whatever the parser takes has one canonical spelling, which it takes again.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace alga;
  auto value = json::parse(fuzz::text_of(data, size));
  if (!value) return 0;
  std::string canonical = json::canonical(*value);
  auto again = json::parse(canonical, {.max_bytes = 64U << 20U, .max_depth = 32});
  fuzz::must(again.has_value(), "the canonical spelling parses");
  fuzz::must(has_inexact_number(*value) || json::canonical(*again) == canonical,
             "the canonical spelling is stable");
  return 0;
}
