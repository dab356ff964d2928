#pragma once

#include <string_view>

#include "base/result.h"

namespace alga::app {

/// What an operator can do about an error that ends a command, in one line without a full stop;
/// empty when the message says it all. The codes are those of schema/error-codes.json.
[[nodiscard]] std::string_view advice_for(std::string_view code);

/// Writes `error: CODE: MESSAGE` and, where there is advice, `what to do: …` to standard error.
/// Returns 1, the exit status of a command that failed.
int complain(const Error& error);

}  // namespace alga::app
