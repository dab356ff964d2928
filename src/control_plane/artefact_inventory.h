#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "control_plane/core.h"

namespace alga::control_plane {

/// What stands compiled in the bundle store, and when it was last used. All artefacts together, of
/// every engine, are held below Options::artefact_bytes: what was used longest ago makes room.
/// *Used* is what is compiled, and what a gateway asks the configuration of. A row is there before
/// its artefact is and until it is gone, so that what a crash leaves behind is found and removed.
/// Any number of processes may share the table. Metrics: `alga_shared_artefact_bytes`,
/// `alga_shared_artefacts_evicted_total`. Thread-safe; all but used() block.
class ArtefactInventory {
 public:
  explicit ArtefactInventory(const Core& core);

  /// Has the component compiled and its artefact stored, then makes room. Answers the artefact's
  /// size in bytes: 0 when it is not kept, for want of room on this server's disk. Errors: those of
  /// domain::ArtefactCompiler::prepare() and of sql; `compile.unavailable` while the former
  /// artefact is being removed.
  [[nodiscard]] Result<std::uint64_t> prepare(const ContentHash& bundle,
                                              const std::string& component_file);
  /// Whether runners of this engine find it, and its bytes are counted. Errors: those of the bundle
  /// store and of sql.
  [[nodiscard]] Result<bool> is_prepared(const ContentHash& bundle) const;

  /// Notes that somebody uses it.
  void used(const ContentHash& bundle);
  /// Writes down what was noted. Answers those for which nothing is stored. Errors: those of sql;
  /// what was noted stays so.
  [[nodiscard]] Result<std::vector<ContentHash>> write_use();

  /// Removes what is over the bound, what was begun an hour ago and never finished, and what
  /// somebody began to remove five minutes ago. Errors: those of sql and of the bundle store; what
  /// could not be removed is tried again. At most `most_removals`; answers whether there is more.
  Result<bool> bound();

  static constexpr int most_removals = 50;
  static constexpr std::chrono::hours longest_compile{1};
  static constexpr std::chrono::minutes longest_removal{5};
  /// Who evicts what was used so lately has too little room.
  static constexpr std::chrono::hours lately{1};

 private:
  struct Artefact {
    ContentHash bundle;
    std::string engine;
    std::uint64_t bytes = 0;
    WallTime used_at;
  };
  [[nodiscard]] Status begin(const ContentHash& bundle);
  [[nodiscard]] Status finish(const ContentHash& bundle, std::uint64_t bytes);
  /// Whether take_one() may find something; sets the gauge.
  [[nodiscard]] Result<bool> anything_to_remove() const;
  /// Claims what a row tells of for this process alone; a row that somebody else wrote and that
  /// names no artefact is deleted, as it must not keep others from their turn.
  [[nodiscard]] static Result<std::optional<Artefact>> claim(sql::Executor& sql,
                                                             const sql::Row& row, WallTime now);
  /// Claims the next one that has to go.
  [[nodiscard]] Result<std::optional<Artefact>> take_one() const;
  Status remove(const Artefact& artefact);

  const Core& core_;
  Gauge& bytes_;
  Counter& evicted_idle_;
  Counter& evicted_used_;
  std::mutex mutex_;
  std::set<ContentHash> used_;
};

}  // namespace alga::control_plane
