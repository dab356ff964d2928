#pragma once

#include <atomic>
#include <fstream>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>

#include "domain/ports/bundle_store.h"

/// A bundle store for tests of every layer above.
namespace alga::blob::testing {

/// Objects in memory. `fail_with` breaks it; `before_get` runs before each download and
/// `before_exists` before each question for an object, on the caller's thread. What `after_put`
/// answers is the answer to an upload that is stored already; a removal that `before_remove`
/// refuses does not happen.
class MemoryBundleStore final : public domain::BundleStore {
 public:
  Status get(std::string_view key, std::uint64_t max_bytes, domain::ByteSink sink) override {
    if (before_get) before_get();
    ++gets;
    const std::scoped_lock lock(mutex_);
    if (error_) return alga::fail(*error_);
    const auto object = objects_.find(key);
    if (object == objects_.end()) return alga::fail(Kind::not_found, "blob.not_found", "none");
    if (object->second.size() > max_bytes) {
      return alga::fail(Kind::too_large, "blob.too_large", "too large");
    }
    // In two pieces, so that consumers meet more than one.
    const std::string_view bytes = object->second;
    TRY_VOID(sink(as_bytes(bytes.substr(0, bytes.size() / 2))));
    return sink(as_bytes(bytes.substr(bytes.size() / 2)));
  }
  Status put_file(std::string_view key, const std::string& path) override {
    std::ifstream in(path, std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();
    {
      const std::scoped_lock lock(mutex_);
      if (error_) return alga::fail(*error_);
      objects_.insert_or_assign(std::string(key), text.str());
    }
    return after_put ? after_put(key) : Status{};
  }
  Status remove(std::string_view key) override {
    if (before_remove) TRY_VOID(before_remove(key));
    const std::scoped_lock lock(mutex_);
    if (error_) return alga::fail(*error_);
    const auto object = objects_.find(key);
    if (object == objects_.end()) return alga::fail(Kind::not_found, "blob.not_found", "none");
    objects_.erase(object);
    return {};
  }
  Result<bool> exists(std::string_view key) override {
    if (before_exists) before_exists();
    const std::scoped_lock lock(mutex_);
    if (error_) return alga::fail(*error_);
    return objects_.contains(key);
  }
  Status probe() override {
    const std::scoped_lock lock(mutex_);
    if (error_) return alga::fail(*error_);
    return {};
  }

  void put(std::string_view key, std::string bytes) {
    const std::scoped_lock lock(mutex_);
    objects_.insert_or_assign(std::string(key), std::move(bytes));
  }
  void fail_with(std::optional<Error> error) {
    const std::scoped_lock lock(mutex_);
    error_ = std::move(error);
  }

  std::function<void()> before_get;
  std::function<void()> before_exists;
  std::function<Status(std::string_view key)> after_put;
  std::function<Status(std::string_view key)> before_remove;
  std::atomic<int> gets = 0;

 private:
  std::mutex mutex_;
  std::map<std::string, std::string, std::less<>> objects_;
  std::optional<Error> error_;
};

}  // namespace alga::blob::testing
