#pragma once

#include <string>
#include <string_view>

namespace alga::telemetry {

/// Appends `text` as a JSON string that is also harmless on a terminal: controls (C0, DEL, C1),
/// line and paragraph separators and direction overrides are escaped, what is not UTF-8 becomes
/// U+FFFD. At most `limit` bytes of `text` are taken, then an ellipsis follows.
void append_json_string(std::string& out, std::string_view text, std::size_t limit);

}  // namespace alga::telemetry
