#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "base/ids.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/result.h"
#include "domain/ports/bundle_store.h"
#include "engine/child_process.h"

namespace alga::engine {

/// Compiled artefacts in the bundle store, so that one compile serves the fleet:
/// `artefacts/<bundle>/<compat>.cwasm` and its signature `.sig` beside it. Nothing that comes from
/// there is believed: ArtefactStore verifies it before it gets a name. Thread-safe; blocks.
class SharedArtefacts {
 public:
  struct Options {
    domain::BundleStore* store = nullptr;  ///< outlives this object
    /// Publishes what this process compiled. Only for processes whose key the others trust: what
    /// they cannot verify they would fetch in vain.
    bool publish = false;
    std::uint64_t max_bytes = 1ULL << 30U;  ///< of one artefact
  };
  SharedArtefacts(Options options, Metrics& metrics, Logger log);

  /// Writes the artefact to `into` and answers the text of its signature; none when the store has
  /// none. Errors: those of the store; what was written is then worthless.
  [[nodiscard]] Result<std::optional<std::string>> fetch(const ContentHash& bundle,
                                                         const std::string& compat,
                                                         const File& into);
  /// The text of the signature alone; none when the store has none. Errors: those of the store.
  [[nodiscard]] Result<std::optional<std::string>> signature(const ContentHash& bundle,
                                                             const std::string& compat);
  /// Stores both files, the signature last: who finds it finds the artefact. Does nothing where
  /// nothing is published. Errors, which are logged and counted: those of the store.
  Status publish(const ContentHash& bundle, const std::string& compat,
                 const std::filesystem::path& artefact, const std::filesystem::path& signature);
  [[nodiscard]] bool publishes() const { return options_.publish; }
  /// Removes both files, the signature first: who finds one finds the artefact. Nothing there is
  /// fine. Does nothing where nothing is published. `engine` is fingerprint() of its `compat`.
  /// Errors: those of the store.
  Status discard(const ContentHash& bundle, const std::string& engine);
  /// How names tell engines apart: the first 16 digits of `compat`.
  [[nodiscard]] static std::string fingerprint(const std::string& compat) {
    return compat.substr(0, 16);
  }

 private:
  const Options options_;
  Counter& fetched_;
  Counter& published_;
  Counter& failures_;
  const Logger log_;
};

}  // namespace alga::engine
