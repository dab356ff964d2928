#pragma once

#include <filesystem>

#include "base/random.h"
#include "domain/ports/bundle_store.h"

namespace alga::blob {

/// Objects as files below one directory, which must exist. Keys are checked again here
/// (`blob.invalid_key`). A put writes a temporary file beside its target, flushes and renames it,
/// so that a crash leaves the old object or the new one; a leftover temporary file is not visible
/// as an object and goes, once it is an hour old, with a remove() of its directory. Thread-safe;
/// several processes may share the directory.
class FileSystemBundleStore final : public domain::BundleStore {
 public:
  enum class Access : bool { read_only, read_write };
  /// With Access::read_only nothing is different but probe(), which then asks for less. `random`
  /// outlives the store.
  FileSystemBundleStore(std::filesystem::path root, Random& random,
                        Access access = Access::read_write);

  Status get(std::string_view key, std::uint64_t max_bytes, domain::ByteSink sink) override;
  Status put_file(std::string_view key, const std::string& path) override;
  Status remove(std::string_view key) override;
  [[nodiscard]] Result<bool> exists(std::string_view key) override;
  Status probe() override;

 private:
  Result<std::filesystem::path> locate(std::string_view key) const;
  std::filesystem::path root_;
  Random& random_;
  Access access_;
};

}  // namespace alga::blob
