#include "json/parse.h"
#include "property.h"

// Whatever the parser takes has one canonical spelling, which it takes again.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace alga;
  auto value = json::parse(fuzz::text_of(data, size));
  if (!value) return 0;
  std::string canonical = json::canonical(*value);
  auto again = json::parse(canonical, {.max_bytes = 64U << 20U, .max_depth = 32});
  fuzz::must(again.has_value(), "the canonical spelling parses");
  fuzz::must(json::canonical(*again) == canonical, "the canonical spelling is stable");
  return 0;
}
