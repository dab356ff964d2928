#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace alga::app {

/// An option that a script filled from a variable that is not set is refused: it would be as good
/// as absent.
inline CLI::Validator not_empty() {
  return {[](const std::string& text) { return text.empty() ? std::string("is empty") : ""; }, ""};
}

/// `SETTING=VALUE`; the value may be empty.
inline CLI::Validator assignment() {
  return {[](const std::string& text) {
            const std::size_t equals = text.find('=');
            const bool good = equals != std::string::npos && equals > 0;
            return good ? std::string{} : '"' + text + "\" is not SETTING=VALUE";
          },
          ""};
}

}  // namespace alga::app
