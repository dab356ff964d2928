#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "domain/end_class.h"
#include "domain/execute.h"

// Answers of the runner to what it did not run, and whose fault each of them was.

namespace alga::runner {

/// A failure as the public may see it: the prefix of the reference and our code, nothing else.
[[nodiscard]] domain::ExecuteResponse failure(std::uint16_t status, std::string_view prefix,
                                              const Error& error, domain::EndClass end);

/// Who said what turned out wrong: the caller alone, or the control plane, whose grant names the
/// bundle and the envelope. What the control plane vouched for is nobody's fault but ours.
enum class Vouched : bool { no, yes };

/// The end class of what was refused before anything ran.
[[nodiscard]] domain::EndClass end_of_refusal(const Error& error, Vouched vouched);
/// The same for a bundle that could not be had; one that cannot be unpacked is its author's fault.
[[nodiscard]] domain::EndClass end_of_fetch(const Error& error, Vouched vouched);

}  // namespace alga::runner
