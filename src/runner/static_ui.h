#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "blob/bundle_cache.h"
#include "domain/ports/install_directory.h"
#include "httpd/message.h"

namespace alga::runner {

/// A bounded memory of answers, each with a life of its own; the least recently stored goes first.
/// Thread-safe.
template <class Value>
class ShortMemory {
 public:
  ShortMemory(std::size_t max_entries, const Clock& clock)
      : max_entries_(max_entries), clock_(clock) {}

  [[nodiscard]] std::optional<Value> find(const std::string& key) {
    const std::scoped_lock lock(mutex_);
    const auto found = by_key_.find(key);
    if (found == by_key_.end() || found->second->until <= clock_.steady()) return std::nullopt;
    return found->second->value;
  }
  void keep(const std::string& key, Value value, std::chrono::milliseconds life) {
    const std::scoped_lock lock(mutex_);
    if (const auto found = by_key_.find(key); found != by_key_.end()) order_.erase(found->second);
    order_.push_back({key, std::move(value), clock_.steady() + life});
    by_key_[key] = std::prev(order_.end());
    if (order_.size() <= max_entries_) return;
    by_key_.erase(order_.front().key);
    order_.pop_front();
  }

 private:
  struct Entry {
    std::string key;
    Value value;
    SteadyTime until;
  };
  const std::size_t max_entries_;
  const Clock& clock_;
  std::mutex mutex_;
  std::list<Entry> order_;
  std::unordered_map<std::string, typename std::list<Entry>::iterator> by_key_;
};

/// The pages of extensions: `GET /ext-ui/{extension}/{hash}/{path…}` out of the bundle's UI folder,
/// and `GET /`, which sends a host name to the pages of its install (contract of the reference,
/// sections 1.6 and 1.7). Nothing else of a bundle can be reached. Digests and sizes are those of
/// the extraction. Thread-safe.
class StaticUi {
 public:
  struct Options {
    std::uint64_t max_file_bytes = std::uint64_t{32} << 20U;
    /// Ask the directory whether the tenant has the bundle installed; otherwise the bundle must lie
    /// under the tenant's own key of the store.
    bool strict = true;
    std::string content_policy;  ///< of documents, from ui_content_policy()
    /// How long an answer of the directory is believed; a failure never is.
    std::chrono::milliseconds valid_life{5'000}, invalid_life{2'000};
    std::chrono::milliseconds directory_patience{750};
    std::size_t max_remembered = 10'000;
  };
  /// All of it outlives the object.
  struct Dependencies {
    blob::BundleCache* bundles = nullptr;
    domain::InstallDirectory* directory = nullptr;  ///< null: no host names, nothing strict
    const Clock* clock = nullptr;
    Metrics* metrics = nullptr;
    Logger log;
  };
  StaticUi(Options options, Dependencies dependencies);

  /// `/`, `/ext-ui/…` and, as the reference's hosts spell it, `/runner/ext-ui/…`.
  void add_routes(httpd::Router& router);

 private:
  using Bundle = std::shared_ptr<const blob::CachedBundle>;
  async::Task<httpd::Response> redirect(httpd::Request request);
  async::Task<httpd::Response> serve(httpd::Request request);
  async::Task<Result<httpd::Response>> answer(const httpd::Request* request);
  async::Task<Result<domain::InstalledBundle>> look_up(std::string host);
  async::Task<Result<TenantId>> tenant_of(const httpd::Request* request, ExtensionId extension,
                                          ContentHash hash);
  async::Task<Status> check_installed(domain::InstalledBundle wanted);
  async::Task<Result<Bundle>> fetch(domain::InstalledBundle wanted);
  /// Path below the UI folder of the page to begin with; none when the manifest has no UI.
  std::optional<std::string> entry_of(const blob::CachedBundle& bundle);

  const Options options_;
  const Dependencies use_;
  Counter& served_;
  Counter& refused_;
  ShortMemory<bool> installed_;
  ShortMemory<std::string> tenants_;  ///< last tenant that was given a bundle, by its name
  ShortMemory<std::optional<std::string>> entries_;
};

}  // namespace alga::runner
