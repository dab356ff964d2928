#include "control_plane/keep_compiled.h"

#include <algorithm>
#include <utility>

#include "async/thread_name.h"
#include "blob/layout.h"
#include "control_plane/bundle_content.h"

namespace alga::control_plane {

KeepCompiled::KeepCompiled(const Core& core, ArtefactInventory& artefacts, WarmUps& warm_ups)
    : core_(core),
      artefacts_(artefacts),
      warm_ups_(warm_ups),
      waiting_(core.deps().metrics->gauge("alga_recompiles_waiting",
                                          "Bundles in use of which it is not known whether they "
                                          "have to be compiled again")) {}

KeepCompiled::~KeepCompiled() { stop(); }

void KeepCompiled::start() {
  thread_ = std::thread([this] { run(); });
}

void KeepCompiled::stop() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (!thread_.joinable()) return;
  core_.deps().compiler->abort();
  core_.deps().bundles->abort();
  thread_.join();
}

void KeepCompiled::order(const ContentHash& bundle) {
  {
    const std::scoped_lock lock(mutex_);
    enqueue(bundle);
    ordered_ = true;
  }
  wake_.notify_all();
}

void KeepCompiled::enqueue(const ContentHash& bundle) {
  if (std::ranges::find(queue_, bundle) == queue_.end()) queue_.push_back(bundle);
}

void KeepCompiled::run() {
  async::name_this_thread("recompile");
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (!listed_) {
      lock.unlock();
      list();
      lock.lock();
    }
    if (std::chrono::steady_clock::now() >= next_upkeep_) {
      lock.unlock();
      upkeep();
      lock.lock();
    }
    if (stopping_) return;
    if (!queue_.empty()) {
      waiting_.set(static_cast<double>(queue_.size() + later_.size()));
      const ContentHash bundle = queue_.front();
      queue_.pop_front();
      lock.unlock();
      take(bundle);
      lock.lock();
      continue;
    }
    waiting_.set(static_cast<double>(later_.size()));
    if (listed_ && later_.empty()) {
      if (!std::exchange(said_, true)) {
        core_.log().info("everything that installs use is compiled",
                         {{"compiled_anew", compiled_}, {"refused", refused_}});
      }
      wake_.wait_until(lock, next_upkeep_, [this] { return stopping_ || !queue_.empty(); });
      continue;
    }
    if (!std::exchange(ordered_, false)) {
      const SteadyTime again = std::chrono::steady_clock::now() + before_next_attempt;
      wake_.wait_until(lock, std::min(again, next_upkeep_),
                       [this] { return stopping_ || !queue_.empty(); });
    }
    for (const ContentHash& bundle : later_) enqueue(bundle);
    later_.clear();
  }
}

void KeepCompiled::list() {
  const Result<std::vector<ContentHash>> bundles = in_use();
  if (!bundles) return;
  listed_ = true;
  const std::scoped_lock lock(mutex_);
  queue_.insert(queue_.end(), bundles->begin(), bundles->end());
}

void KeepCompiled::upkeep() {
  const SteadyTime now = std::chrono::steady_clock::now();
  const auto missing = artefacts_.write_use();
  const auto bounded = artefacts_.bound();
  const bool more = bounded && *bounded;
  next_upkeep_ = more ? now : now + core_.options().artefact_upkeep;
  for (const Error* error :
       {missing ? nullptr : &missing.error(), bounded ? nullptr : &bounded.error()}) {
    if (error == nullptr) continue;
    core_.log().warn("the upkeep of compiled artefacts failed", {{"code", error->code}});
  }
  if (!missing) return;
  std::erase_if(rests_until_, [now](const auto& rest) { return rest.second <= now; });
  const std::scoped_lock lock(mutex_);
  for (const ContentHash& bundle : *missing) {
    if (!rests_until_.contains(bundle)) enqueue(bundle);
  }
}

Result<std::vector<ContentHash>> KeepCompiled::in_use() const {
  TRY(const sql::Rows rows, core_.db().read([](sql::Executor& sql) {
    return sql.query(
        "SELECT b.content_hash, max(i.is_enabled) AS enabled FROM tenant_extension_install i JOIN "
        "extension_bundle b ON b.version_id = i.version_id GROUP BY b.content_hash ORDER BY "
        "enabled DESC, b.content_hash");
  }));
  std::vector<ContentHash> bundles;
  for (const sql::Row& row : rows) {
    if (auto hash = ContentHash::parse(row.at<std::string>(0))) bundles.push_back(*hash);
  }
  return bundles;
}

void KeepCompiled::take(const ContentHash& bundle) {
  const Result<bool> done = see_to(bundle);
  if (done) {
    if (!*done) return;
    ++compiled_;
    core_.log().info("compiled again what is in use", {{"bundle", bundle.hex()}});
    return warm_ups_.order(bundle);
  }
  if (const std::scoped_lock lock(mutex_); stopping_) return;
  const Error& error = done.error();
  core_.log().warn("what is in use could not be compiled again",
                   {{"bundle", bundle.hex()}, {"code", error.code}, {"reason", error.message}});
  // `denied` is what a store says while its keys are exchanged.
  if (error.kind == Kind::unavailable || error.kind == Kind::internal ||
      error.kind == Kind::denied) {
    later_.push_back(bundle);
    return;
  }
  ++refused_;
  if (error.code.starts_with("compile.")) rest(bundle);
}

void KeepCompiled::rest(const ContentHash& bundle) {
  rests_until_[bundle] = std::chrono::steady_clock::now() + before_next_look;
}

Result<bool> KeepCompiled::see_to(const ContentHash& bundle) {
  TRY(const bool counted, artefacts_.is_prepared(bundle));
  if (counted) return false;
  TRY(const bool there, core_.deps().compiler->is_prepared(bundle));
  TRY(const ScratchFolder scratch, ScratchFolder::make(core_.options().scratch));
  const std::filesystem::path archive = scratch.path() / "bundle.tar.zst";
  auto got = fetch_archive(core_, blob::shared_bundle_key(bundle), bundle.hex(), archive);
  if (!got) return fail(std::move(got).error().error);
  auto content = open_bundle(core_, archive, scratch.path());
  if (!content) return fail(std::move(content).error().error);
  const std::optional<std::filesystem::path> component = std::move(content->component);
  std::uint64_t bytes = 0;
  if (component) {
    TRY(bytes, artefacts_.prepare(bundle, component->string()));
  }
  if (bytes == 0) {
    rest(bundle);
    return false;
  }
  return !there;
}

}  // namespace alga::control_plane
