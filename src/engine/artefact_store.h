#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/random.h"
#include "base/result.h"
#include "crypto/sign.h"
#include "engine/child_process.h"
#include "engine/shared_artefacts.h"
#include "json/decode.h"

namespace alga::engine {

/// Compiled components on disk, signed. An artefact is native code: none is opened that is not
/// signed by a trusted key for exactly this bundle, engine, size and digest, and what is opened is
/// the very descriptor that was checked. A file that fails is removed and counted as tampering, or,
/// when its signature names a key that is not trusted, as untrusted: what an exchange of the key
/// leaves behind.
///
/// Files: `<bundle>-<compat>.cwasm` and beside it `.sig` (docs/contracts/artefact.md). Both are
/// written to a temporary name and renamed, the signature first, after what they replace was
/// removed, so that a crash leaves either a whole artefact or something that is swept. Bounded by
/// bytes and number, least recently used first out. Thread-safe; every call blocks.
class ArtefactStore {
 public:
  struct Options {
    std::filesystem::path directory;  ///< made with mode 0700
    std::uint64_t max_bytes = 0;
    std::uint64_t max_artefacts = 0;
    std::string compat;  ///< hex of ab_engine_compat_hash
    std::shared_ptr<const crypto::SigningKey> signer;
    std::vector<crypto::PublicKey> trusted;
    /// Where others publish what they compiled; null: nowhere.
    std::shared_ptr<SharedArtefacts> shared;
  };
  /// Error: `engine.cache_io`.
  [[nodiscard]] static Result<std::unique_ptr<ArtefactStore>> open(Options options, Random& random,
                                                                   Metrics& metrics, Logger log);

  /// A verified artefact, or none when there is none (any more), neither here nor among the shared
  /// ones. Counts as a use.
  [[nodiscard]] Result<std::optional<File>> find(const ContentHash& bundle);
  /// The same without a look at the shared ones, and no use: waits for the disk, and for nobody
  /// else.
  [[nodiscard]] Result<std::optional<File>> find_here(const ContentHash& bundle);

  /// Whether there is an artefact whose signature names a trusted key: among the shared ones where
  /// artefacts are shared, else here. Says nothing about the artefact, which is not read. Errors:
  /// those of the bundle store.
  [[nodiscard]] Result<bool> is_offered(const ContentHash& bundle) const;

  /// Sees that others find the artefact that is here, where artefacts are shared. Answers its size
  /// in bytes, 0 when there is none. Errors: those of the bundle store.
  Result<std::uint64_t> offer(const ContentHash& bundle);
  /// Takes the artefact of an engine, ours or not, from the shared ones; the one that is here
  /// stays. Errors: those of the bundle store.
  Status withdraw(const ContentHash& bundle, const std::string& engine);
  /// SharedArtefacts::fingerprint() of this engine.
  [[nodiscard]] std::string engine() const { return SharedArtefacts::fingerprint(options_.compat); }

  /// An artefact that is here was last used then, by somebody who had it in memory.
  void note_use(const ContentHash& bundle, SteadyTime when) const;

  /// Bundles that have an artefact for this engine, most recently used first.
  [[nodiscard]] std::vector<ContentHash> recent() const;

  /// An unnamed-to-others file for the compiler's output.
  struct Draft {
    File file;
    std::filesystem::path path;
  };
  [[nodiscard]] Result<Draft> draft();
  /// Signs the draft and gives it its name. The draft's file is gone afterwards either way.
  Status keep(const ContentHash& bundle, Draft draft);
  static void discard(const Draft& draft);
  [[nodiscard]] bool can_sign() const { return options_.signer != nullptr; }

 private:
  ArtefactStore(Options options, Random& random, Metrics& metrics, Logger log);
  [[nodiscard]] std::filesystem::path path_of(const ContentHash& bundle) const;
  /// Takes a verified artefact from the shared ones; false when there is none.
  bool adopt(const ContentHash& bundle);
  /// Writes the signature and gives both their names, the signature first and in no one's place: an
  /// artefact without one, or with that of another, would be taken for tampering. The draft is gone
  /// afterwards either way.
  Status settle(const ContentHash& bundle, const Draft& draft, std::string_view signature);
  [[nodiscard]] Status verify(const ContentHash& bundle, const File& file,
                              const std::filesystem::path& path,
                              const std::string& signature) const;
  /// Counts and logs what verify() refused.
  void note_refusal(std::string_view what, const ContentHash& bundle, const Error& error);
  /// Null for a signature that is none, or of a key that is not trusted.
  [[nodiscard]] const crypto::PublicKey* signer_of(json::Object& signature) const;
  [[nodiscard]] std::string statement(const ContentHash& bundle, std::string_view digest,
                                      std::uint64_t size) const;
  void sweep();
  void evict();
  void note_full();

  const Options options_;
  Random& random_;
  Counter& tampered_;
  Counter& untrusted_;
  Counter& evicted_;
  Metrics& metrics_;
  Logger log_;
  std::mutex mutex_;
  bool said_full_ = false;
};

}  // namespace alga::engine
