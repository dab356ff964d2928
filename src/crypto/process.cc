#include "crypto/process.h"

#include <sys/prctl.h>
#include <sys/resource.h>

#include <cerrno>
#include <cstring>

namespace alga::crypto {

Status harden_process() {
  constexpr rlimit none{.rlim_cur = 0, .rlim_max = 0};
  if (setrlimit(RLIMIT_CORE, &none) != 0) {
    return fail(Kind::internal, "crypto.cannot_harden",
                std::string("RLIMIT_CORE: ") + std::strerror(errno));
  }
  // A core_pattern that pipes ignores RLIMIT_CORE; the dumpable flag stops that one too.
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) {
    return fail(Kind::internal, "crypto.cannot_harden",
                std::string("PR_SET_DUMPABLE: ") + std::strerror(errno));
  }
  return {};
}

}  // namespace alga::crypto
