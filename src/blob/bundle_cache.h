#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "archive/extract.h"
#include "archive/file.h"
#include "async/blocking_pool.h"
#include "base/callback.h"
#include "base/clock.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/random.h"
#include "base/result.h"
#include "domain/ports/bundle_store.h"

namespace alga::blob {

/// An extracted bundle on the local disk. While somebody holds it, its files stay. Immutable.
class CachedBundle {
 public:
  CachedBundle(ContentHash hash, std::filesystem::path root, archive::ExtractedBundle index,
               std::string manifest)
      : hash_(std::move(hash)),
        root_(std::move(root)),
        index_(std::move(index)),
        manifest_(std::move(manifest)) {}

  [[nodiscard]] const ContentHash& hash() const [[clang::lifetimebound]] { return hash_; }
  /// The directory that holds the files of index().
  [[nodiscard]] const std::filesystem::path& root() const [[clang::lifetimebound]] { return root_; }
  /// Every file with its size and SHA-256, taken when it was extracted.
  [[nodiscard]] const archive::ExtractedBundle& index() const [[clang::lifetimebound]] {
    return index_;
  }
  /// `dist/main.wasm`; none for a bundle without server code.
  [[nodiscard]] std::optional<std::filesystem::path> component_path() const;
  /// The directory of the static UI; none when the bundle has no `ui/` file.
  [[nodiscard]] std::optional<std::filesystem::path> ui_root() const;
  /// Text of `manifest.json` (at most 1 MiB), empty when there is none.
  [[nodiscard]] const std::string& manifest() const [[clang::lifetimebound]] { return manifest_; }

 private:
  ContentHash hash_;
  std::filesystem::path root_;
  archive::ExtractedBundle index_;
  std::string manifest_;
};

/// Local copies of published bundles, addressed by content. A miss downloads the archive, verifies
/// its SHA-256 while it arrives, extracts it and keeps the files; concurrent callers of one hash
/// wait for one download. Least recently used bundles that nobody holds are removed when the sum of
/// file sizes exceeds the bound. What is cached is served without the store. Whoever waits for the
/// store waits on no thread, and the threads that ask it are the cache's own: a slow store holds up
/// nothing else, nor what is on the disk already.
///
/// Which tenant may have which bundle: the first time, the object must be found in the store under
/// the tenant's own key or (when `shared` says so) under the shared key; that finding is remembered
/// beside the files. Knowing a hash is not enough.
///
/// Thread-safe. One process per directory.
class BundleCache {
 public:
  struct Options {
    std::filesystem::path root;              ///< made when missing
    std::uint64_t max_bytes = 10ULL << 30U;  ///< `EXT_CACHE_MAX_BYTES`
    archive::Limits limits;                  ///< of each bundle
    std::size_t downloads = 8;               ///< at once, each on a thread of its own
    std::size_t max_waiting = 10'000;        ///< for a place among them; more are refused
                                             ///< (BlockingPool::Share: one tenant's sooner)
  };
  struct Dependencies {
    domain::BundleStore& store;
    const Clock& clock;
    Random& random;
    Metrics& metrics;
    Logger log;
    /// Runs a job that reads the disk (BlockingPool::submit); false when it cannot take it. Empty:
    /// the threads of the downloads do that, too.
    std::function<bool(std::move_only_function<void()>)> submit;
  };
  using Done = Callback<std::shared_ptr<const CachedBundle>>;
  /// Whether the bundle may also come from its shared key: yes when a verified grant names the
  /// hash.
  enum class Shared : bool { no, yes };

  /// Takes the directory, sweeps what a crash left and reads what is ready. Errors:
  /// `blob.cache_locked`, `blob.cache_io`.
  [[nodiscard]] static Result<std::unique_ptr<BundleCache>> open(Options options,
                                                                 Dependencies dependencies);
  /// close()s. Nobody may be waiting on the disk.
  ~BundleCache();
  BundleCache(const BundleCache&) = delete;
  BundleCache& operator=(const BundleCache&) = delete;

  /// `done` is called once, on a thread that may block or before this returns. Errors:
  /// `blob.not_found` (also for a hash of somebody else), `blob.hash_mismatch`, `blob.cache_io`,
  /// those of the store, `archive.*` for a bundle that cannot be extracted, `async.pool_full`, and
  /// `async.exception` for what is thrown on the way.
  void get(const TenantId& tenant, const ExtensionId& extension, const ContentHash& hash,
           Shared shared, Done done);

  /// Brings a published bundle from its shared key, for nobody in particular: who may have it is
  /// judged by get() as before. For a caller whom the control plane has sent. Errors as get().
  void prefetch(const ContentHash& hash, Done done);

  /// Lets downloads that run end and refuses any further one: those that wait for a place end with
  /// `blob.unavailable`, and so does whoever asks later. Blocks; BundleStore::abort() makes it
  /// short. Before the executors of those who wait stop.
  void close();

  /// What get() would answer without touching disk or store, else null. Never blocks for long.
  [[nodiscard]] std::shared_ptr<const CachedBundle> find_ready(const TenantId& tenant,
                                                               const ExtensionId& extension,
                                                               const ContentHash& hash,
                                                               Shared shared);

  /// For who found that files of this bundle are gone, as when somebody empties the directory below
  /// a running server: the next get() fetches it anew. Nothing when that has happened already.
  void forget(const std::shared_ptr<const CachedBundle>& bundle);

  /// Sum of the sizes of the files of all cached bundles.
  [[nodiscard]] std::uint64_t bytes() const;
  [[nodiscard]] std::size_t size() const;
  /// Whether the directory can be written, for readiness.
  [[nodiscard]] Status probe() const;

 private:
  using Bundle = std::shared_ptr<const CachedBundle>;
  struct Entry {
    std::uint64_t bytes = 0;       ///< of its files
    std::uint64_t disk_bytes = 0;  ///< what its removal gives back
    std::uint64_t last_used = 0;
    Bundle bundle;  ///< null until the first use after a restart; the only owner when nobody leases
    std::set<std::string> proofs;  ///< who may have it, as far as known in memory
  };
  struct Owner {
    TenantId tenant;
    ExtensionId extension;
    std::string proof;
  };
  /// What one caller asks, or several who ask the same.
  struct Question {
    ContentHash hash;
    std::optional<Owner> owner;  ///< none: for nobody in particular
    Shared shared;
    std::string name;  ///< the same for all who ask the same
  };
  using Step = Status (BundleCache::*)(const Question&);
  BundleCache(Options options, Dependencies dependencies, archive::FileDescriptor lock);

  Status recover();
  [[nodiscard]] std::filesystem::path directory(const ContentHash& hash) const;
  void ask(Question question, Done done);
  void take(const Question& question, Step step);
  Status begin(const Question& question);
  [[nodiscard]] std::unexpected<Error> not_taken() const;
  Status look_on_disk(const Question& question);
  Status look_in_store(const Question& question);
  void fetch_once(const Question& question, const std::string& key);
  std::size_t answer(const Question& question, const Result<Bundle>& outcome);
  bool is_entitled(const Question& question);
  Result<std::string> entitled_key(const Question& question);
  void remember(const Question& question);
  Result<Bundle> lease(const ContentHash& hash);
  Result<Bundle> fetch(const ContentHash& hash, const std::string& key);
  Status download(const ContentHash& hash, const std::string& key,
                  const std::filesystem::path& file);
  Result<archive::ExtractedBundle> extract(const ContentHash& hash,
                                           const std::filesystem::path& file);
  void evict(std::uint64_t target);
  std::uint64_t evict_until(const std::function<bool(std::uint64_t freed)>& enough);
  bool make_room(std::uint64_t bytes);

  const Options options_;
  Dependencies use_;
  archive::FileDescriptor lock_;
  Counter& hits_;
  Counter& misses_;
  Counter& failures_;
  Counter& evictions_;
  Gauge& bytes_gauge_;
  Histogram& fetch_seconds_;

  mutable std::mutex mutex_;
  std::unordered_map<ContentHash, Entry> entries_;
  std::unordered_map<std::string, std::vector<Done>> asked_;  ///< by name of the question
  /// Whose answer the download of a bundle is.
  std::unordered_map<ContentHash, std::vector<Question>> flights_;
  std::uint64_t bytes_ = 0;
  std::uint64_t use_counter_ = 0;
  std::atomic<bool> closing_ = false;

  async::BlockingPool downloads_;  // last: its threads use all of the above
};

}  // namespace alga::blob
