#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace alga::domain {

/// A semantic version (semver.org 2.0.0): `MAJOR.MINOR.PATCH[-pre][+build]`, at most 128
/// characters, numbers below 2^53. Also `MAJOR.MINOR.*`, which publishing turns into the next free
/// patch number.
struct SemVer {
  std::uint64_t major = 0;
  std::uint64_t minor = 0;
  std::uint64_t patch = 0;
  std::vector<std::string> pre;
  std::string build;
  bool any_patch = false;

  [[nodiscard]] static std::optional<SemVer> parse(std::string_view text);
  [[nodiscard]] std::string str() const;

  /// Precedence by section 11 of the standard: build metadata does not count, a pre-release comes
  /// before its release. `*` counts as patch 0.
  [[nodiscard]] std::strong_ordering compare(const SemVer& other) const;
};

}  // namespace alga::domain
