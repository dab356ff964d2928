#pragma once

#include "base/result.h"

namespace alga::crypto {

/// Keeps secrets of this process out of files: no core dumps (RLIMIT_CORE 0, soft and hard), not
/// dumpable and not traceable by others of the same user (PR_SET_DUMPABLE 0). Call first in main()
/// and again after each exec, which undoes the second. Error: `crypto.cannot_harden`.
[[nodiscard]] Status harden_process();

}  // namespace alga::crypto
