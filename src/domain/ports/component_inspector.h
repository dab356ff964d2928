#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace alga::domain {

/// What a Wasm file turned out to be.
struct ComponentReport {
  enum class Kind : std::uint8_t { component, core_module };
  Kind kind = Kind::component;
  std::vector<std::string> imports;  ///< interface names with version, as in the component
  std::vector<std::string> exports;
  /// The type of the exported `handler` is one that the runner can call.
  bool exports_handler = false;
  std::uint64_t file_bytes = 0;
  std::uint64_t minimum_memory_bytes = 0;  ///< sum over all memories
  std::uint64_t table_elements = 0;        ///< sum of the minimums
  std::uint32_t core_modules = 0;
  /// Why no slot of a runner can hold an instance, each as text: `5 memories; a slot has 4`.
  std::vector<std::string> beyond_slots;
  /// Made with clocks or random switched off, so that the guest sees frozen values.
  bool frozen_clock = false;
  bool frozen_random = false;
  /// Bytes over which the initial data of a memory is strewn too thinly for copy-on-write, so that
  /// every execution writes all of it anew; 0: it is not.
  std::uint64_t sparse_image_bytes = 0;
};

/// Looks into an untrusted Wasm file without running it, in a process or budget of its own. Blocks.
/// Errors: `component.not_wasm` (text, garbage, native code such as `.cwasm` or ELF),
/// `component.malformed`, `component.too_large`, `component.too_complex`, `component.unavailable`.
class ComponentInspector {
 public:
  virtual ~ComponentInspector() = default;
  [[nodiscard]] virtual Result<ComponentReport> inspect(const std::string& file) = 0;
};

}  // namespace alga::domain
