#pragma once

#include <cstdint>
#include <string>

#include "base/ids.h"
#include "base/result.h"

namespace alga::domain {

/// Compiles a component at publish so that no request ever waits for it, and stores the signed
/// artefact where runners find it. Idempotent. Blocks. Errors: `compile.refused` (the component's
/// fault), `compile.too_expensive`, `compile.unavailable`. Thread-safe.
class ArtefactCompiler {
 public:
  virtual ~ArtefactCompiler() = default;
  /// Answers the size of the artefact in bytes. Only what was prepared stands in the bundle store.
  virtual Result<std::uint64_t> prepare(const ContentHash& bundle,
                                        const std::string& component_file) = 0;
  /// Whether runners find an artefact of this engine whose signature names a key that is trusted
  /// here: cheap, the artefact itself is not read. Blocks. Errors: those of the bundle store.
  virtual Result<bool> is_prepared(const ContentHash& bundle) = 0;
  /// Tells its artefacts from those of other engines: 16 hexadecimal digits.
  [[nodiscard]] virtual std::string engine() const = 0;
  /// Removes what prepare() of that engine, be it ours or not, has stored for the bundle; nothing
  /// there is fine. Blocks. Errors: those of the bundle store.
  virtual Status discard(const ContentHash& bundle, const std::string& engine) = 0;
  /// For stopping: every compile that is under way, and every later one, ends at once with
  /// `compile.unavailable`. Does not wait for them.
  virtual void abort() noexcept {}
};

}  // namespace alga::domain
