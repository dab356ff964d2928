#include "engine/artefact_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>
#include <system_error>
#include <utility>

#include "base/bytes.h"
#include "crypto/digest.h"
#include "domain/limits.h"
#include "json/decode.h"

namespace alga::engine {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view draft_prefix = ".draft-";
constexpr std::uint64_t most_signature_bytes = 4096;

std::unexpected<Error> io_error(std::string_view what, const fs::path& path) {
  return fail(Kind::unavailable, "engine.cache_io",
              std::string(what) + " " + path.filename().string() + ": " +
                  std::error_code(errno, std::generic_category()).message());
}

struct Measured {
  std::string digest;
  std::uint64_t size = 0;
};

Result<Measured> measure(const File& file, const fs::path& path) {
  crypto::Sha256 hash;
  Measured out;
  std::vector<std::uint8_t> buffer(1U << 20U);
  while (true) {
    ssize_t got = ::pread(file.fd(), buffer.data(), buffer.size(), static_cast<off_t>(out.size));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return io_error("cannot read", path);
    if (got == 0) break;
    hash.update(ByteSpan{buffer.data(), static_cast<std::size_t>(got)});
    out.size += static_cast<std::uint64_t>(got);
  }
  out.digest = hash.finish_hex();
  return out;
}

Status write_synced(const fs::path& path, std::string_view text) {
  File file{::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600)};
  if (!file.is_open()) return io_error("cannot create", path);
  while (!text.empty()) {
    ssize_t wrote = ::write(file.fd(), text.data(), text.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return io_error("cannot write", path);
    text.remove_prefix(static_cast<std::size_t>(wrote));
  }
  if (::fsync(file.fd()) != 0) return io_error("cannot sync", path);
  return {};
}

/// What was renamed or removed in it before survives a power cut. A failure costs an artefact then,
/// which is compiled again.
void sync_folder(const fs::path& path) {
  const File folder{::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (folder.is_open()) (void)::fsync(folder.fd());
}

/// Whether this path is that of this very file.
bool names(const fs::path& path, const File& file) {
  struct stat there{}, ours{};
  return ::lstat(path.c_str(), &there) == 0 && ::fstat(file.fd(), &ours) == 0 &&
         there.st_dev == ours.st_dev && there.st_ino == ours.st_ino;
}

/// At most a byte more than a signature may have.
std::string signature_beside(const fs::path& path) {
  std::ifstream file(path.string() + ".sig", std::ios::binary);
  std::string text(most_signature_bytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  return text;
}

}  // namespace

Result<std::unique_ptr<ArtefactStore>> ArtefactStore::open(Options options, Random& random,
                                                           Metrics& metrics, Logger log) {
  std::error_code failed;
  fs::create_directories(options.directory, failed);
  if (!failed) fs::permissions(options.directory, fs::perms::owner_all, failed);
  if (failed) {
    return fail(Kind::unavailable, "engine.cache_io",
                "the artefact cache cannot be used: " + failed.message());
  }
  std::unique_ptr<ArtefactStore> store{
      new ArtefactStore(std::move(options), random, metrics, std::move(log))};
  store->sweep();
  return store;
}

ArtefactStore::ArtefactStore(Options options, Random& random, Metrics& metrics, Logger log)
    : options_(std::move(options)),
      random_(random),
      tampered_(
          metrics.counter("alga_artefacts_tampered_total", "Artefacts that failed authentication")),
      untrusted_(metrics.counter("alga_artefacts_untrusted_total",
                                 "Artefacts whose signature names a key that is not trusted: those "
                                 "of a former key, after its exchange")),
      evicted_(metrics.counter("alga_artefacts_evicted_total",
                               "Artefacts removed from disk to make room")),
      metrics_(metrics),
      log_(std::move(log)) {}

fs::path ArtefactStore::path_of(const ContentHash& bundle) const {
  return options_.directory / (bundle.hex() + "-" + options_.compat.substr(0, 16) + ".cwasm");
}

std::string ArtefactStore::statement(const ContentHash& bundle, std::string_view digest,
                                     std::uint64_t size) const {
  return "alga-artefact:v1\n" + bundle.hex() + "\n" + options_.compat + "\n" + std::string(digest) +
         "\n" + std::to_string(size);
}

Result<std::optional<File>> ArtefactStore::find(const ContentHash& bundle) {
  TRY(std::optional<File> here, find_here(bundle));
  if (!here && options_.shared && adopt(bundle)) {
    TRY(here, find_here(bundle));
  }
  if (here) note_use(bundle, std::chrono::steady_clock::now());
  return here;
}

void ArtefactStore::note_use(const ContentHash& bundle, SteadyTime when) const {
  // A file that is gone, or a time that cannot be set, costs nothing but order.
  std::error_code ignored;
  fs::last_write_time(
      path_of(bundle),
      fs::file_time_type::clock::now() - std::chrono::duration_cast<fs::file_time_type::duration>(
                                             std::chrono::steady_clock::now() - when),
      ignored);
}

Result<bool> ArtefactStore::is_offered(const ContentHash& bundle) const {
  std::string text;
  if (options_.shared) {
    TRY(std::optional<std::string> shared, options_.shared->signature(bundle, options_.compat));
    text = std::move(shared).value_or("");
  } else if (const fs::path path = path_of(bundle); fs::exists(path)) {
    text = signature_beside(path);
  }
  if (text.empty() || text.size() > most_signature_bytes) return false;
  auto document = json::Document::parse(text);
  if (!document || !document->value().is_object()) return false;
  json::Object signature = document->root();
  return signer_of(signature) != nullptr;
}

Result<std::uint64_t> ArtefactStore::offer(const ContentHash& bundle) {
  TRY(const std::optional<File> here, find_here(bundle));
  if (!here) return 0U;
  struct stat facts{};
  if (::fstat(here->fd(), &facts) != 0) return io_error("cannot measure", path_of(bundle));
  const auto bytes = static_cast<std::uint64_t>(facts.st_size);
  if (!options_.shared || !options_.shared->publishes()) return bytes;
  TRY(const bool there, is_offered(bundle));
  if (there) return bytes;
  const fs::path path = path_of(bundle);
  TRY_VOID(options_.shared->publish(bundle, options_.compat, path, path.string() + ".sig"));
  return bytes;
}

Status ArtefactStore::withdraw(const ContentHash& bundle, const std::string& engine) {
  return options_.shared ? options_.shared->discard(bundle, engine) : Status{};
}

const crypto::PublicKey* ArtefactStore::signer_of(json::Object& signature) const {
  const Result<std::string> key_id = signature.string("key_id");
  if (!key_id) return nullptr;
  const auto key = std::ranges::find(options_.trusted, *key_id, &crypto::PublicKey::id);
  return key == options_.trusted.end() ? nullptr : &*key;
}

bool ArtefactStore::adopt(const ContentHash& bundle) {
  auto made = draft();
  if (!made) return false;
  auto fetched = options_.shared->fetch(bundle, options_.compat, made->file);
  std::optional<std::string> signature;
  if (fetched) signature = *std::move(fetched);
  if (!signature) {
    discard(*made);
    return false;
  }
  if (Status good = verify(bundle, made->file, made->path, *signature); !good) {
    discard(*made);
    note_refusal("a shared artefact failed authentication and was not taken", bundle, good.error());
    return false;
  }
  return settle(bundle, *made, *signature).has_value();
}

Result<std::optional<File>> ArtefactStore::find_here(const ContentHash& bundle) {
  fs::path path = path_of(bundle);
  File file;
  std::string signature;
  {
    // A pair: none that is being replaced or removed.
    std::lock_guard lock(mutex_);
    file = File{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW)};
    if (!file.is_open()) {
      if (errno == ENOENT) return std::nullopt;
      return io_error("cannot open", path);
    }
    signature = signature_beside(path);
  }
  if (Status good = verify(bundle, file, path, signature); !good) {
    note_refusal("a compiled artefact failed authentication and was removed", bundle, good.error());
    std::lock_guard lock(mutex_);
    if (!names(path, file)) return std::nullopt;  // another has taken its place
    std::error_code ignored;
    fs::remove(path, ignored);
    fs::remove(path.string() + ".sig", ignored);
    return std::nullopt;
  }
  return file;
}

std::vector<ContentHash> ArtefactStore::recent() const {
  std::vector<std::pair<fs::file_time_type, ContentHash>> found;
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(options_.directory, ignored)) {
    const std::string name = entry.path().stem().string();
    const auto bundle = ContentHash::parse(std::string_view(name).substr(0, name.find('-')));
    if (bundle && entry.path() == path_of(*bundle)) {
      found.emplace_back(entry.last_write_time(ignored), *bundle);
    }
  }
  std::ranges::sort(found, std::ranges::greater{});
  std::vector<ContentHash> bundles;
  for (auto& [used, bundle] : found) bundles.push_back(std::move(bundle));
  return bundles;
}

Status ArtefactStore::verify(const ContentHash& bundle, const File& file, const fs::path& path,
                             const std::string& text) const {
  auto bad = [](std::string message) {
    return fail(Kind::internal, "engine.artefact_untrusted", std::move(message));
  };
  if (text.empty() || text.size() > most_signature_bytes) return bad("no signature");
  TRY(json::Document document, json::Document::parse(text));
  json::Object root = document.root();
  TRY(std::string encoded, root.string("signature"));
  const crypto::PublicKey* key = signer_of(root);
  if (key == nullptr) {
    return fail(Kind::denied, "engine.artefact_untrusted", "signed by a key that is not trusted");
  }
  std::optional<std::string> signature = base64_decode(encoded);
  if (!signature) return bad("the signature is not base64");
  TRY(Measured measured, measure(file, path));
  if (!key->verify(as_bytes(statement(bundle, measured.digest, measured.size)),
                   as_bytes(*signature))) {
    return bad("the signature is not of these bytes, this bundle and this engine");
  }
  return {};
}

void ArtefactStore::note_refusal(std::string_view what, const ContentHash& bundle,
                                 const Error& error) {
  const bool unknown_key = error.kind == Kind::denied;
  (unknown_key ? untrusted_ : tampered_).add();
  log_.emit(unknown_key ? LogLevel::warn : LogLevel::error, what,
            {{"bundle", bundle.hex()}, {"code", error.code}, {"reason", error.message}});
}

Result<ArtefactStore::Draft> ArtefactStore::draft() {
  std::array<std::uint8_t, 12> name{};
  random_.fill(name);
  fs::path path = options_.directory / (std::string(draft_prefix) + hex_encode(name));
  File file{::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600)};
  if (!file.is_open()) return io_error("cannot create", path);
  return Draft{std::move(file), std::move(path)};
}

void ArtefactStore::discard(const Draft& draft) {
  std::error_code ignored;
  fs::remove(draft.path, ignored);
}

Status ArtefactStore::keep(const ContentHash& bundle, Draft draft) {
  if (!options_.signer) {
    discard(draft);
    return fail(Kind::internal, "engine.unavailable", "this process may not sign artefacts");
  }
  auto measured = measure(draft.file, draft.path);
  if (!measured || ::fsync(draft.file.fd()) != 0) {
    discard(draft);
    if (!measured) return fail(std::move(measured).error());
    return io_error("cannot sync", draft.path);
  }
  crypto::Signature signature =
      options_.signer->sign(as_bytes(statement(bundle, measured->digest, measured->size)));
  std::string text = R"({"key_id":")" + options_.signer->public_key().id() + R"(","signature":")" +
                     base64_encode(signature) + "\"}";
  return settle(bundle, draft, text);
}

Status ArtefactStore::settle(const ContentHash& bundle, const Draft& draft,
                             std::string_view signature) {
  fs::path path = path_of(bundle);
  fs::path draft_signature = draft.path.string() + ".sig";
  std::lock_guard lock(mutex_);
  std::error_code failed;
  if (Status wrote = write_synced(draft_signature, signature); !wrote) {
    discard(draft);
    fs::remove(draft_signature, failed);
    return wrote;
  }
  // At no instant is a signature beside an artefact of which it is not.
  if (fs::remove(path, failed)) sync_folder(options_.directory);
  if (!failed) fs::rename(draft_signature, path.string() + ".sig", failed);
  if (!failed) {
    sync_folder(options_.directory);
    fs::rename(draft.path, path, failed);
  }
  if (failed) {
    std::error_code ignored;
    fs::remove(draft_signature, ignored);
    discard(draft);
    return fail(Kind::unavailable, "engine.cache_io",
                "cannot keep an artefact: " + failed.message());
  }
  sync_folder(options_.directory);
  evict();
  return {};
}

/// Removes what a crash left: drafts, and signatures without artefact.
void ArtefactStore::sweep() {
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(options_.directory, ignored)) {
    std::string name = entry.path().filename().string();
    bool orphan = name.ends_with(".sig") &&
                  !fs::exists(entry.path().parent_path() / entry.path().stem(), ignored);
    if (name.starts_with(draft_prefix) || orphan) fs::remove(entry.path(), ignored);
  }
}

void ArtefactStore::note_full() {
  constexpr auto limit = domain::Limit::components_on_disk;
  domain::count_limit_hit(metrics_, limit);
  if (std::exchange(said_full_, true)) return;
  log_.info("compiled components leave the disk to make room for others",
            {{"code", domain::info(limit).code}, {"most", options_.max_artefacts}});
}

void ArtefactStore::evict() {
  struct Entry {
    fs::file_time_type used;
    std::uint64_t size;
    fs::path path;
  };
  std::vector<Entry> entries;
  std::uint64_t total = 0;
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(options_.directory, ignored)) {
    if (entry.path().extension() != ".cwasm") continue;
    entries.push_back({entry.last_write_time(ignored), entry.file_size(ignored), entry.path()});
    total += entries.back().size;
  }
  std::ranges::sort(entries, {}, &Entry::used);
  std::size_t count = entries.size();
  for (const Entry& entry : entries) {
    if (total <= options_.max_bytes && count <= options_.max_artefacts) break;
    if (count > options_.max_artefacts) note_full();
    // Mapped artefacts stay usable: the file lives until the last mapping goes.
    fs::remove(entry.path, ignored);
    fs::remove(entry.path.string() + ".sig", ignored);
    total -= entry.size;
    --count;
    evicted_.add();
  }
}

}  // namespace alga::engine
