#include "base/result.h"

#include <cstdio>
#include <cstdlib>

namespace alga::detail {

void check_failed(const char* expression, const char* file, int line) {
  std::fprintf(stderr, "CHECK failed: %s at %s:%d\n", expression, file, line);
  std::fflush(stderr);
  std::abort();
}

}  // namespace alga::detail
