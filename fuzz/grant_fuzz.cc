#include <memory>

#include "base/clock.h"
#include "crypto/sign.h"
#include "domain/grant.h"
#include "property.h"

// No input is a grant unless it was signed: the ring holds a key of which nobody has the secret
// half.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace alga;
  static SystemClock clock;
  static domain::GrantVerifier verifier(clock);
  auto grant = verifier.verify(fuzz::text_of(data, size));
  fuzz::must(!grant.has_value(), "an unsigned text is no grant");
  fuzz::must(!grant.error().code.empty(), "a refusal has a code");
  fuzz::must(verifier.remembered() == 0, "refused texts are not remembered");
  return 0;
}
