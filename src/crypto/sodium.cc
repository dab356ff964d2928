#include "crypto/sodium.h"

#include <sodium.h>

#include "base/result.h"

namespace alga::crypto {

void require_sodium() {
  static const bool ready = sodium_init() >= 0;
  ALGA_CHECK(ready);
}

}  // namespace alga::crypto
