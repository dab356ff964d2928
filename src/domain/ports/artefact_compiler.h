#pragma once

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
  virtual Status prepare(const ContentHash& bundle, const std::string& component_file) = 0;
  /// Whether runners find an artefact of this engine whose signature names a key that is trusted
  /// here: cheap, the artefact itself is not read. Blocks. Errors: those of the bundle store.
  virtual Result<bool> is_prepared(const ContentHash& bundle) = 0;
  /// For stopping: every compile that is under way, and every later one, ends at once with
  /// `compile.unavailable`. Does not wait for them.
  virtual void abort() noexcept {}
};

}  // namespace alga::domain
