#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "control_plane/core.h"
#include "crypto/aead.h"

namespace alga::control_plane {

/// One key per tenant (and version of it) that encrypts the tenant's secrets at rest; in the
/// database it is wrapped by the KeyProvider. A few unwrapped keys are kept in locked memory.
/// Thread-safe; blocks, possibly on Vault, so it is never called inside a transaction.
class DataKeys {
 public:
  explicit DataKeys(const Core& core) : core_(core) {}

  struct Key {
    std::uint32_t version = 0;
    std::shared_ptr<const crypto::AeadKey> key;
  };
  /// The newest key of the tenant; made when there is none.
  [[nodiscard]] Result<Key> current(const TenantId& tenant);
  /// Error: `secrets.key_missing`.
  [[nodiscard]] Result<Key> of_version(const TenantId& tenant, std::uint32_t version);

 private:
  using Name = std::pair<std::string, std::uint32_t>;
  [[nodiscard]] std::shared_ptr<const crypto::AeadKey> cached(const Name& name);
  void remember(const Name& name, std::shared_ptr<const crypto::AeadKey> key);
  Status make_first(const TenantId& tenant);

  const Core& core_;
  std::mutex mutex_;
  std::map<Name, std::shared_ptr<const crypto::AeadKey>> keys_;
  std::list<Name> oldest_first_;
};

/// The context under which a data key is wrapped.
[[nodiscard]] std::string data_key_context(std::string_view tenant, std::uint32_t version);

}  // namespace alga::control_plane
