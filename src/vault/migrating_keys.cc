#include "vault/migrating_keys.h"

namespace alga::vault {

Result<crypto::LockedBytes> MigratingKeyProvider::unwrap(const domain::WrappedKey& wrapped,
                                                         const std::string& context) {
  auto key = present_->unwrap(wrapped, context);
  if (key || former_ == nullptr || key.error().code != "keys.unknown_key") return key;
  return former_->unwrap(wrapped, context);
}

}  // namespace alga::vault
