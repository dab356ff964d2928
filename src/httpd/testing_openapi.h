#pragma once

#include <algorithm>
#include <cctype>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <string_view>

#include "json/parse.h"

/// What the OpenAPI document says, for tests that hold it to what is served.
namespace alga::httpd::testing {

/// The operations, `GET /path`, that the document in `file` gives to a role (its `x-role`).
inline std::set<std::string> documented_operations(const std::string& file, std::string_view role) {
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  const json::Value document = json::parse(text.str(), {.max_bytes = 4U << 20U}).value();
  std::set<std::string> operations;
  for (const auto& [path, item] : document.at("paths").as_object()) {
    for (const auto& [method, operation] : item.as_object()) {
      if (operation.at("x-role").as_string() != role) continue;
      std::string upper(method);
      std::ranges::transform(upper, upper.begin(), [](unsigned char c) { return std::toupper(c); });
      operations.insert(upper + " " + std::string(path));
    }
  }
  return operations;
}

/// A route's pattern as the document writes it: a rest of the path is a parameter like others.
inline std::string documented_path(std::string pattern) {
  constexpr std::string_view rest = "{path...}";
  if (const auto at = pattern.find(rest); at != std::string::npos) {
    pattern.replace(at, rest.size(), "{path}");
  }
  return pattern;
}

}  // namespace alga::httpd::testing
