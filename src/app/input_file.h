#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/result.h"

// Files that somebody names on the command line.

namespace alga::app {

/// The whole content. Error (Kind::invalid): `code`, with path and reason; so for folders and for
/// what is longer than `most`.
[[nodiscard]] Result<std::string> read_whole_file(const std::string& path, std::size_t most,
                                                  std::string_view code);

/// An open descriptor, the caller's, of a regular file: no folder, and nothing that would keep a
/// reader waiting. Error (Kind::invalid): `component.unavailable`, with path and reason.
[[nodiscard]] Result<int> open_component_file(const std::string& path);

/// The same for writing, made or emptied, mode 0600; may be a device. It is not emptied when it is
/// the very file that `input` reads. Error (Kind::invalid): `engine.cache_io`, with path and
/// reason.
[[nodiscard]] Result<int> open_output_file(const std::string& path, int input);

}  // namespace alga::app
