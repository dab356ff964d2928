#include "engine/kept_pages.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <limits>
#include <string>
#include <string_view>

namespace alga::engine {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t unlimited = std::numeric_limits<std::uint64_t>::max();

/// The number at the beginning of a text, behind spaces; `otherwise` when there is none ("max").
std::uint64_t number(std::string_view text, std::uint64_t otherwise) {
  text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
  std::uint64_t value = 0;
  return std::from_chars(text.data(), text.data() + text.size(), value).ec == std::errc{}
             ? value
             : otherwise;
}

/// In bytes; 0 when the kernel does not say.
std::uint64_t memory_of_machine(const fs::path& root) {
  constexpr std::string_view name = "MemTotal:";
  std::ifstream file(root / "proc/meminfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(name)) {
      return number(std::string_view(line).substr(name.size()), 0) << 10U;  // in KiB
    }
  }
  return 0;
}

/// The least limit of the control groups from `group` up to the root of `hierarchy`.
std::uint64_t limit_of_groups(const fs::path& hierarchy, fs::path group, const char* file) {
  std::uint64_t least = unlimited;
  while (true) {
    std::ifstream limit(hierarchy / group / file);
    if (std::string line; std::getline(limit, line))
      least = std::min(least, number(line, unlimited));
    if (group.empty()) return least;
    group = group.parent_path();
  }
}

/// As /proc/self/cgroup names the groups: "0::/path" (version 2) or "4:memory:/path" (version 1).
/// In a container the path may be one of the host, then the root of what is mounted is the group.
std::uint64_t limit_of_control_groups(const fs::path& root) {
  std::uint64_t least = unlimited;
  std::ifstream groups(root / "proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const std::size_t controllers = line.find(':');
    const std::size_t path = line.find(":/", controllers + 1);
    if (controllers == std::string::npos || path == std::string::npos) continue;
    const std::string_view names =
        std::string_view(line).substr(controllers + 1, path - controllers - 1);
    const fs::path group = std::string_view(line).substr(path + 2);
    if (names.empty()) {
      least = std::min(least, limit_of_groups(root / "sys/fs/cgroup", group, "memory.max"));
    } else if (names == "memory") {
      least = std::min(
          least, limit_of_groups(root / "sys/fs/cgroup/memory", group, "memory.limit_in_bytes"));
    }
  }
  return least;
}

}  // namespace

std::uint64_t memory_of_process(const fs::path& root) {
  return std::min(memory_of_machine(root), limit_of_control_groups(root));
}

bool keeps_pages(KeepPages wanted, std::uint64_t slots, std::uint64_t memory) {
  if (wanted != KeepPages::automatic) return wanted == KeepPages::on;
  return slots <= memory / 4 / kept_bytes_per_slot;
}

}  // namespace alga::engine
