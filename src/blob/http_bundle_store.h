#pragma once

#include <string>

#include "blob/object_transport.h"
#include "blob/remote_object.h"

namespace alga::blob {

/// Reads objects with plain GET below a base URL (`BUNDLE_STORE_BASE` without keys). Writing is
/// `blob.denied`. Thread-safe.
class HttpBundleStore final : public domain::BundleStore {
 public:
  /// `base` is an http or https URL; a slash at its end may be missing. `transport` outlives the
  /// store.
  HttpBundleStore(std::string base, ObjectTransport& transport, RetryPolicy retries = {});

  Status get(std::string_view key, std::uint64_t max_bytes, domain::ByteSink sink) override;
  Status put_file(std::string_view key, const std::string& path) override;
  Status remove(std::string_view key) override;
  [[nodiscard]] Result<bool> exists(std::string_view key) override;
  /// The server answers at all, whatever it says: a listing is often forbidden.
  Status probe() override;
  void abort() noexcept override { transport_.abort(); }

 private:
  [[nodiscard]] ObjectRequest request(std::string method, std::string_view key) const;
  std::string base_;
  ObjectTransport& transport_;
  RetryPolicy retries_;
};

}  // namespace alga::blob
