#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"

namespace alga::domain {

/// Receives a stream of bytes; an error stops it.
using ByteSink = std::move_only_function<Status(ByteSpan)>;

/// Where bundles and signed artefacts live. Keys are relative, `/`-separated, already validated.
/// Every call may block: use it on the blocking pool. Errors: `blob.not_found`, `blob.unavailable`,
/// `blob.denied`, `blob.too_large`.
class BundleStore {
 public:
  virtual ~BundleStore() = default;
  /// Streams the object into `sink`, at most `max_bytes`.
  virtual Status get(std::string_view key, std::uint64_t max_bytes, ByteSink sink) = 0;
  /// Stores the file atomically: readers see the old object or the whole new one.
  virtual Status put_file(std::string_view key, const std::string& path) = 0;
  virtual Status remove(std::string_view key) = 0;
  [[nodiscard]] virtual Result<bool> exists(std::string_view key) = 0;
  /// Cheap reachability check for readiness.
  virtual Status probe() = 0;
  /// For stopping, from another thread: what waits for a server far away ends within about a second
  /// with `blob.unavailable`, and so does every later call. Does not wait for them.
  virtual void abort() noexcept {}
};

}  // namespace alga::domain
