#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "base/ids.h"
#include "control_plane/core.h"
#include "control_plane/refusal.h"

namespace alga::control_plane {

/// An upload that waits to be finalised; it belongs to the principal that made it.
struct StagedUpload {
  std::string id;
  std::string filename;
  std::uint64_t size = 0;
  std::string content_hash;  ///< hex
};

/// Uploads in the bundle store, under keys of their own, with a row each that is there before the
/// object and until the object is gone. One that nobody finalised within a day is removed.
/// Thread-safe; blocks.
class Staging {
 public:
  explicit Staging(const Core& core) : core_(core) {}

  /// Takes a spooled file. Refuses with `HASH_MISMATCH` when `declared_hash` is given and differs,
  /// `SIZE_MISMATCH` likewise.
  PublishResult<StagedUpload> store(const Caller& caller, const std::string& file,
                                    const std::string& filename, std::uint64_t size,
                                    const std::string& sha256,
                                    const std::optional<std::string>& declared_hash,
                                    const std::optional<std::uint64_t>& declared_size);
  /// By its key; another principal's upload is `STAGING_NOT_FOUND`, and so is one whose day is
  /// over.
  [[nodiscard]] PublishResult<StagedUpload> find(const Caller& caller,
                                                 const std::string& key) const;
  /// Brings the bytes to `file` and checks them against the recorded hash. `STAGING_NOT_FOUND` when
  /// the upload never reached the store.
  PublishResult<void> fetch(const StagedUpload& upload, const std::filesystem::path& file) const;
  /// Removes row and object; false when there was nothing to remove.
  Result<bool> discard(const Caller& caller, const std::string& key);
  /// Ends the upload's day with the transaction of `sql`: nobody finds it any more, and what
  /// remove() leaves of it is the sweep's.
  static Status end(sql::Executor& sql, const std::string& id);
  /// Removes the object, then the row; it is no error when either is gone.
  Status remove(const std::string& id);
  /// Removes what is older than a day; answers how many.
  Result<std::uint64_t> sweep();

 private:
  const Core& core_;
};

}  // namespace alga::control_plane
