#pragma once

#include <functional>

#include "base/result.h"

namespace alga {

/// How an asynchronous operation answers: called exactly once, from any thread, and never before
/// the call that took it has returned control to its own caller's stack frame or during it unless
/// the operation says so. It must not throw and must not block.
template <class T>
using Callback = std::move_only_function<void(Result<T>)>;

}  // namespace alga
