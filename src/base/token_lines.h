#pragma once

#include <string_view>

#include "base/secret.h"

namespace alga {

/// Tokens that are accepted stand one a line, so that both the old and the new one hold while they
/// are exchanged. True when `given` is one of the lines of `accepted`; empty lines are none. Takes
/// the same time for every content of the same length.
[[nodiscard]] inline bool is_token_of(std::string_view given, const Secret& accepted) {
  bool found = false;
  std::string_view rest = accepted.reveal();
  while (!rest.empty()) {
    const std::size_t end = rest.find('\n');
    std::string_view line = rest.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    unsigned char difference = line.size() == given.size() && !line.empty() ? 0 : 1;
    for (std::size_t i = 0; i < line.size() && i < given.size(); ++i) {
      difference = static_cast<unsigned char>(difference | (static_cast<unsigned char>(line[i]) ^
                                                            static_cast<unsigned char>(given[i])));
    }
    found |= difference == 0;
    rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
  }
  return found;
}

/// Whether one of the lines is a token that the earlier system came with, or that stands in
/// examples everywhere: anybody knows those.
[[nodiscard]] inline bool accepts_known_token(const Secret& accepted) {
  bool known = false;
  for (std::string_view token : {"local-runner-key", "changeme", "change-me", "secret"}) {
    known |= is_token_of(token, accepted);
  }
  return known;
}

/// The token to show where several are accepted: the first line.
[[nodiscard]] inline Secret token_to_show(Secret lines) {
  const std::string_view all = lines.reveal();
  const std::size_t end = all.find_first_of("\r\n");
  if (end == std::string_view::npos) return lines;
  return Secret{std::string(all.substr(0, end))};
}

}  // namespace alga
