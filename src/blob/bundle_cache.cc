#include "blob/bundle_cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <exception>
#include <system_error>
#include <type_traits>
#include <vector>

#include "blob/layout.h"
#include "crypto/digest.h"
#include "domain/limits.h"

namespace alga::blob {
namespace {

namespace fs = std::filesystem;
using archive::FileDescriptor;

constexpr std::string_view kDiskFull = "archive.disk_full";
constexpr std::string_view kLockName = ".lock";
constexpr std::string_view kDownloadPrefix = ".download-";
constexpr std::string_view kEvictedPrefix = ".evicted-";
/// Inside a bundle's directory; no clash, because hidden entries are never extracted.
constexpr std::string_view kProofs = ".entitled";
constexpr std::uint64_t kMaxManifestBytes = 1U << 20U;
constexpr std::array<double, 10> kSeconds{0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60};

std::unexpected<Error> cache_error(int error, std::string_view action) {
  return fail(Kind::unavailable, "blob.cache_io",
              std::string(action) + ": " + std::generic_category().message(error));
}

std::string random_suffix(Random& random) {
  std::array<std::uint8_t, 8> bytes{};
  random.fill(bytes);
  return hex_encode(bytes);
}

std::string proof_name(const TenantId& tenant, const ExtensionId& extension) {
  return crypto::sha256_hex(tenant.str() + '\n' + extension.str());
}

/// Removes a file when it goes out of scope.
class ScopedFile {
 public:
  explicit ScopedFile(fs::path path) : path_(std::move(path)) {}
  ScopedFile(const ScopedFile&) = delete;
  ScopedFile& operator=(const ScopedFile&) = delete;
  ~ScopedFile() { ::unlink(path_.c_str()); }
  [[nodiscard]] const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

Result<std::string> read_manifest(const fs::path& root, const archive::ExtractedBundle& index) {
  const archive::ExtractedFile* file = index.find("manifest.json");
  if (file == nullptr || file->size > kMaxManifestBytes) return std::string{};
  TRY(archive::ByteSource source, archive::file_source(root / "manifest.json"));
  std::string text;
  for (;;) {
    TRY(const ByteSpan piece, source());
    if (piece.empty() || text.size() > kMaxManifestBytes) return text;
    text += as_text(piece);
  }
}

std::unexpected<Error> stopping() {
  return fail(Kind::unavailable, "blob.unavailable", "the server is stopping");
}

std::unexpected<Error> thrown(const char* what) {
  return fail(Kind::internal, "async.exception", what);
}

/// What `work` answers, and what it throws as an error.
template <class F>
std::invoke_result_t<F&> guarded(F work) {
  try {
    return work();
  } catch (const std::exception& error) {
    return thrown(error.what());
  } catch (...) {
    return thrown("unknown exception");
  }
}

bool is_leftover(std::string_view name) {
  return archive::is_unfinished(name) || name.starts_with(kDownloadPrefix) ||
         name.starts_with(kEvictedPrefix);
}

}  // namespace

std::optional<fs::path> CachedBundle::component_path() const {
  if (index_.find("dist/main.wasm") == nullptr) return std::nullopt;
  return root_ / "dist" / "main.wasm";
}

std::optional<fs::path> CachedBundle::ui_root() const {
  const auto first = std::ranges::lower_bound(
      index_.files, std::string_view("ui/"), {},
      [](const archive::ExtractedFile& file) -> std::string_view { return file.path; });
  if (first == index_.files.end() || !first->path.starts_with("ui/")) return std::nullopt;
  return root_ / "ui";
}

BundleCache::BundleCache(Options options, Dependencies dependencies, FileDescriptor lock)
    : options_(std::move(options)),
      use_(std::move(dependencies)),
      lock_(std::move(lock)),
      hits_(use_.metrics.counter("alga_bundle_cache_hits_total",
                                 "Bundles served from the local disk")),
      misses_(use_.metrics.counter("alga_bundle_cache_misses_total",
                                   "Bundles that had to be downloaded")),
      failures_(use_.metrics.counter("alga_bundle_cache_failures_total",
                                     "Bundles that could not be downloaded or extracted")),
      evictions_(use_.metrics.counter("alga_bundle_cache_evictions_total",
                                      "Bundles removed to stay within EXT_CACHE_MAX_BYTES")),
      bytes_gauge_(use_.metrics.gauge("alga_bundle_cache_bytes", "Size of all cached files")),
      fetch_seconds_(use_.metrics.histogram("alga_bundle_fetch_seconds",
                                            "Download, verification and extraction", kSeconds)),
      downloads_(options_.downloads, options_.max_waiting, "bundles") {}

BundleCache::~BundleCache() { close(); }

void BundleCache::close() {
  closing_ = true;  // first, so that those who wait for a place are not asked for in turn
  downloads_.close();
}

Result<std::unique_ptr<BundleCache>> BundleCache::open(Options options, Dependencies dependencies) {
  std::error_code error;
  fs::create_directories(options.root, error);
  if (error) return cache_error(error.value(), "make the cache directory");
  FileDescriptor lock(
      ::open((options.root / kLockName).c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!lock.valid()) return cache_error(errno, "open the lock of the cache");
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    return fail(Kind::conflict, "blob.cache_locked",
                "another process uses the bundle cache " + options.root.string());
  }
  std::unique_ptr<BundleCache> cache(
      new BundleCache(std::move(options), std::move(dependencies), std::move(lock)));
  TRY_VOID(cache->recover());
  return cache;
}

/// After a crash: unfinished work is removed, complete bundles are taken over in the order in which
/// they were used.
Status BundleCache::recover() {
  struct Found {
    ContentHash hash;
    std::uint64_t bytes, disk_bytes;
    fs::file_time_type used;
  };
  std::vector<Found> found;
  std::error_code error;
  fs::directory_iterator directories(options_.root, error);
  if (error) return cache_error(error.value(), "read the cache directory");
  for (const fs::directory_entry& item : directories) {
    const std::string name = item.path().filename().string();
    std::error_code ignored;
    if (is_leftover(name)) {
      fs::remove_all(item.path(), ignored);
      continue;
    }
    const auto hash = ContentHash::parse(name);
    if (!hash || hash->hex() != name) continue;
    const auto index = archive::read_index(item.path());
    if (!index) {
      use_.log.warn("an incomplete bundle was removed from the cache", {{"hash", name}});
      fs::remove_all(item.path(), ignored);
      continue;
    }
    found.push_back(
        {*hash, index->unpacked_bytes, archive::disk_bytes(*index), item.last_write_time(ignored)});
  }
  std::ranges::sort(found, {}, &Found::used);
  for (const Found& item : found) {
    entries_[item.hash] =
        Entry{.bytes = item.bytes, .disk_bytes = item.disk_bytes, .last_used = ++use_counter_};
    bytes_ += item.bytes;
  }
  evict(options_.max_bytes);
  return {};
}

fs::path BundleCache::directory(const ContentHash& hash) const {
  return options_.root / hash.hex();
}

std::uint64_t BundleCache::bytes() const {
  const std::scoped_lock lock(mutex_);
  return bytes_;
}

std::size_t BundleCache::size() const {
  const std::scoped_lock lock(mutex_);
  return entries_.size();
}

Status BundleCache::probe() const {
  if (::access(options_.root.c_str(), R_OK | W_OK | X_OK) == 0) return {};
  return cache_error(errno, "the cache directory");
}

void BundleCache::get(const TenantId& tenant, const ExtensionId& extension, const ContentHash& hash,
                      Shared shared, Done done) {
  Owner owner{tenant, extension, proof_name(tenant, extension)};
  std::string name = hash.hex() + (shared == Shared::yes ? '+' : '-') + owner.proof;
  ask({.hash = hash, .owner = std::move(owner), .shared = shared, .name = std::move(name)},
      std::move(done));
}

void BundleCache::prefetch(const ContentHash& hash, Done done) {
  ask({.hash = hash, .owner = std::nullopt, .shared = Shared::yes, .name = hash.hex()},
      std::move(done));
}

/// Whoever asks what is being asked already gets the answer to that.
void BundleCache::ask(Question question, Done done) {
  std::vector<Done> alone;
  alone.push_back(std::move(done));
  {
    const std::scoped_lock lock(mutex_);
    const auto [waiting, first] = asked_.try_emplace(question.name, std::move(alone));
    if (!first) {
      waiting->second.push_back(std::move(alone.front()));
      return;
    }
  }
  take(question, &BundleCache::begin);
}

/// Goes a step towards the answer. An error, also one that is thrown, is the answer: a pool ends
/// the process with an exception of a job, and whoever asks would wait for ever.
void BundleCache::take(const Question& question, Step step) {
  const Status taken = guarded([&] { return (this->*step)(question); });
  if (!taken) answer(question, fail(taken.error()));
}

Status BundleCache::begin(const Question& question) {
  const auto job = [this, question] { take(question, &BundleCache::look_on_disk); };
  const bool taken = use_.submit ? use_.submit(job) : downloads_.submit(job);
  if (!taken) return not_taken();
  return {};
}

/// A pool that is closed refuses like one that is full. close() says so before it closes its own.
std::unexpected<Error> BundleCache::not_taken() const {
  if (closing_) return stopping();
  return fail({Kind::unavailable, "async.pool_full", "too many wait for bundles", 1});
}

Status BundleCache::look_on_disk(const Question& question) {
  Result<Bundle> ready = nullptr;
  if (is_entitled(question)) ready = lease(question.hash);
  if (!ready || *ready != nullptr) {
    const std::size_t answered = answer(question, ready);
    if (ready && question.owner) hits_.add(static_cast<double>(answered));
    return {};
  }
  const std::string line = question.owner ? question.owner->tenant.str() : std::string{};
  const bool taken =
      downloads_.submit(line, [this, question] { take(question, &BundleCache::look_in_store); });
  if (!taken) return not_taken();
  return {};
}

Status BundleCache::look_in_store(const Question& question) {
  if (closing_) return stopping();
  const Result<std::string> key = entitled_key(question);
  if (!key) {
    if (key.error().code != "blob.not_found") failures_.add();
    return fail(key.error());
  }
  fetch_once(question, *key);
  return {};
}

/// Calls back those who asked, and says how many they were.
std::size_t BundleCache::answer(const Question& question, const Result<Bundle>& outcome) {
  std::vector<Done> waiting;
  {
    const std::scoped_lock lock(mutex_);
    if (auto node = asked_.extract(question.name); !node.empty()) {
      waiting = std::move(node.mapped());
    }
  }
  for (Done& done : waiting) done(outcome);
  return waiting.size();
}

std::shared_ptr<const CachedBundle> BundleCache::find_ready(const TenantId& tenant,
                                                            const ExtensionId& extension,
                                                            const ContentHash& hash,
                                                            Shared shared) {
  const std::string proof = shared == Shared::yes ? std::string{} : proof_name(tenant, extension);
  const std::scoped_lock lock(mutex_);
  const auto entry = entries_.find(hash);
  if (entry == entries_.end() || entry->second.bundle == nullptr) return nullptr;
  if (shared == Shared::no && !entry->second.proofs.contains(proof)) return nullptr;
  entry->second.last_used = ++use_counter_;
  hits_.add();
  return entry->second.bundle;
}

/// Whether what is on disk may be given without asking the store.
bool BundleCache::is_entitled(const Question& question) {
  const std::scoped_lock lock(mutex_);
  const auto entry = entries_.find(question.hash);
  if (entry == entries_.end()) return false;
  if (question.shared == Shared::yes) return true;
  const std::string& proof = question.owner->proof;
  if (entry->second.proofs.contains(proof)) return true;
  if (::access((directory(question.hash) / kProofs / proof).c_str(), F_OK) != 0) return false;
  entry->second.proofs.insert(proof);
  return true;
}

/// The key under which whoever asks may have the bundle.
Result<std::string> BundleCache::entitled_key(const Question& question) {
  if (const auto& owner = question.owner) {
    std::string key = bundle_key(owner->tenant, owner->extension, question.hash);
    TRY(const bool own, use_.store.exists(key));
    if (own) return key;
  }
  if (question.shared == Shared::yes) {
    std::string key = shared_bundle_key(question.hash);
    TRY(const bool there, use_.store.exists(key));
    if (there) return key;
  }
  return fail(Kind::not_found, "blob.not_found",
              question.owner ? "no such bundle for this tenant and extension"
                             : "no such bundle has been published");
}

void BundleCache::remember(const Question& question) {
  if (!question.owner) return;
  const std::string& proof = question.owner->proof;
  const std::scoped_lock lock(mutex_);
  const auto entry = entries_.find(question.hash);
  if (entry == entries_.end() || !entry->second.proofs.insert(proof).second) return;
  // Best effort: without the file the store is asked again after a restart.
  const fs::path proofs = directory(question.hash) / kProofs;
  ::mkdir(proofs.c_str(), 0700);
  const FileDescriptor file(
      ::open((proofs / proof).c_str(), O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
}

/// The bundle if it is on disk, else null.
Result<std::shared_ptr<const CachedBundle>> BundleCache::lease(const ContentHash& hash) {
  const std::scoped_lock lock(mutex_);
  const auto entry = entries_.find(hash);
  if (entry == entries_.end()) return nullptr;
  entry->second.last_used = ++use_counter_;
  if (entry->second.bundle == nullptr) {
    const fs::path root = directory(hash);
    ::utimensat(AT_FDCWD, root.c_str(), nullptr, 0);  // the order of use survives a restart
    auto index = archive::read_index(root);
    auto manifest = index ? read_manifest(root, *index) : fail(index.error());
    if (!manifest) {
      // Somebody has removed the files below us: forget them and fetch the bundle anew.
      std::error_code ignored;
      fs::remove_all(root, ignored);
      bytes_ -= entry->second.bytes;
      entries_.erase(entry);
      return nullptr;
    }
    entry->second.bundle =
        std::make_shared<CachedBundle>(hash, root, std::move(*index), std::move(*manifest));
  }
  return entry->second.bundle;
}

/// One download for all who ask for the bundle, whoever they are.
void BundleCache::fetch_once(const Question& question, const std::string& key) {
  const ContentHash& hash = question.hash;
  std::vector<Question> alone{question};
  {
    const std::scoped_lock lock(mutex_);
    const auto [waiting, first] = flights_.try_emplace(hash, std::move(alone));
    if (!first) {
      waiting->second.push_back(std::move(alone.front()));
      return;
    }
  }
  const Result<Bundle> outcome = guarded([&]() -> Result<Bundle> {
    Result<Bundle> bundle = lease(hash);
    if (bundle && *bundle == nullptr) bundle = fetch(hash, key);
    evict(options_.max_bytes);
    return bundle;
  });
  if (!outcome) failures_.add();
  std::vector<Question> waiting;
  {
    const std::scoped_lock lock(mutex_);
    waiting = std::move(flights_.extract(hash).mapped());
  }
  for (const Question& each : waiting) {
    answer(each, guarded([&]() -> Result<Bundle> {
             if (outcome) remember(each);
             return outcome;
           }));
  }
}

Result<std::shared_ptr<const CachedBundle>> BundleCache::fetch(const ContentHash& hash,
                                                               const std::string& key) {
  misses_.add();
  const SteadyTime begin = use_.clock.steady();
  const ScopedFile file(options_.root /
                        (std::string(kDownloadPrefix) + random_suffix(use_.random)));
  TRY_VOID(download(hash, key, file.path()));
  TRY(archive::ExtractedBundle index, extract(hash, file.path()));
  const std::uint64_t bytes = index.unpacked_bytes;
  const std::uint64_t on_disk = archive::disk_bytes(index);
  TRY(std::string manifest, read_manifest(directory(hash), index));
  auto bundle = std::make_shared<const CachedBundle>(hash, directory(hash), std::move(index),
                                                     std::move(manifest));
  {
    const std::scoped_lock lock(mutex_);
    entries_[hash] =
        Entry{.bytes = bytes, .disk_bytes = on_disk, .last_used = ++use_counter_, .bundle = bundle};
    bytes_ += bytes;
    bytes_gauge_.set(static_cast<double>(bytes_));
  }
  fetch_seconds_.observe(std::chrono::duration<double>(use_.clock.steady() - begin).count());
  return bundle;
}

Status BundleCache::download(const ContentHash& hash, const std::string& key,
                             const fs::path& file) {
  const FileDescriptor out(
      ::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!out.valid()) {
    const int why = errno;
    Error error = archive::io_error(why, "create a file");
    if (error.code == kDiskFull) return fail(std::move(error));
    return cache_error(why, "create a file");
  }
  crypto::Sha256 digest;
  const Status got =
      use_.store.get(key, options_.limits.archive_bytes, [&digest, &out](ByteSpan piece) -> Status {
        digest.update(piece);
        return archive::write_all(out.get(), piece);
      });
  if (!got && got.error().code == "blob.too_large") {
    domain::count_limit_hit(use_.metrics, domain::Limit::bundle_archive);
    return fail(Kind::too_large, domain::info(domain::Limit::bundle_archive).code,
                "the stored bundle is larger than " +
                    std::to_string(options_.limits.archive_bytes) + " bytes");
  }
  TRY_VOID(got);
  if (digest.finish_hex() == hash.hex()) return {};
  use_.log.error("the stored bundle does not have the hash it was asked for", {{"key", key}});
  return fail(Kind::bad_gateway, "blob.hash_mismatch",
              "the stored bundle does not have the hash " + hash.prefixed());
}

Result<archive::ExtractedBundle> BundleCache::extract(const ContentHash& hash,
                                                      const fs::path& file) {
  // Nobody else fetches this hash and no entry names the directory: what is there is rubbish.
  std::error_code ignored;
  fs::remove_all(directory(hash), ignored);
  for (int attempt = 0;; ++attempt) {
    TRY(archive::ByteSource source, archive::file_source(file));
    auto index =
        archive::extract_bundle(std::move(source), directory(hash), options_.limits, use_.random);
    if (!index) domain::count_limit_hit(use_.metrics, index.error().code);
    if (index || attempt > 0 || index.error().code != kDiskFull) return index;
    // The disk is fuller than our bound knows: others give way, if that is enough.
    TRY(archive::ByteSource again, archive::file_source(file));
    const auto needed = archive::disk_bytes(std::move(again), options_.limits);
    if (!needed || !make_room(*needed)) return index;
  }
}

/// For a write of so many bytes that the disk had no room for: removes bundles that nobody holds.
/// False when all of them are not enough; then nothing is removed.
bool BundleCache::make_room(std::uint64_t bytes) {
  std::error_code error;
  const fs::space_info disk = fs::space(options_.root, error);
  if (error) return false;
  // With room by this count it is a quota or the number of files that is used up.
  const std::uint64_t missing = disk.available < bytes ? bytes - disk.available : bytes;
  {
    const std::scoped_lock lock(mutex_);
    std::uint64_t idle = 0;
    for (const auto& [hash, entry] : entries_) {
      if (entry.bundle.use_count() <= 1) idle += entry.disk_bytes;
    }
    if (idle < missing) return false;
  }
  return evict_until([missing](std::uint64_t freed) { return freed >= missing; }) >= missing;
}

void BundleCache::forget(const std::shared_ptr<const CachedBundle>& bundle) {
  const std::scoped_lock lock(mutex_);
  const auto entry = entries_.find(bundle->hash());
  if (entry == entries_.end() || entry->second.bundle != bundle) return;
  bytes_ -= entry->second.bytes;
  bytes_gauge_.set(static_cast<double>(bytes_));
  entries_.erase(entry);
  use_.log.warn("files of a cached bundle are gone; it is fetched anew",
                {{"hash", bundle->hash().hex()}});
}

/// Removes the least recently used bundles that nobody holds until at most `target` bytes are left.
void BundleCache::evict(std::uint64_t target) {
  evict_until([this, target](std::uint64_t) { return bytes_ <= target; });
}

/// The same until it is `enough`, which is asked under `mutex_` with what the disk has got back;
/// answers how much that is.
std::uint64_t BundleCache::evict_until(const std::function<bool(std::uint64_t)>& enough) {
  std::uint64_t freed = 0;
  std::vector<fs::path> condemned;
  {
    const std::scoped_lock lock(mutex_);
    std::vector<std::pair<std::uint64_t, ContentHash>> idle;
    if (!enough(freed)) {
      for (const auto& [hash, entry] : entries_) {
        // Leases are handed out under this mutex only: a count of one cannot grow meanwhile.
        if (entry.bundle.use_count() <= 1) idle.emplace_back(entry.last_used, hash);
      }
      std::ranges::sort(idle);
    }
    for (const auto& [used, hash] : idle) {
      if (enough(freed)) break;
      const fs::path doomed =
          options_.root / (std::string(kEvictedPrefix) + random_suffix(use_.random));
      if (::rename(directory(hash).c_str(), doomed.c_str()) != 0 && errno != ENOENT) continue;
      condemned.push_back(doomed);
      bytes_ -= entries_.at(hash).bytes;
      freed += entries_.at(hash).disk_bytes;
      entries_.erase(hash);
      evictions_.add();
    }
    bytes_gauge_.set(static_cast<double>(bytes_));
  }
  std::error_code ignored;
  for (const fs::path& path : condemned) fs::remove_all(path, ignored);
  return freed;
}

}  // namespace alga::blob
