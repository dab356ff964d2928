#pragma once

#include <memory>

#include "domain/ports/key_provider.h"

namespace alga::vault {

/// Wraps with one provider and unwraps with it or with the one that was used before: so that a
/// platform can move its wrapping key into Vault (or back) while it runs. rotate() makes a key of
/// the present provider; the control plane's rotation then wraps everything again.
class MigratingKeyProvider final : public domain::KeyProvider {
 public:
  /// `former` may be null.
  MigratingKeyProvider(std::unique_ptr<domain::KeyProvider> present,
                       std::unique_ptr<domain::KeyProvider> former)
      : present_(std::move(present)), former_(std::move(former)) {}

  [[nodiscard]] Result<domain::WrappedKey> wrap(ByteSpan key, const std::string& context) override {
    return present_->wrap(key, context);
  }
  [[nodiscard]] Result<crypto::LockedBytes> unwrap(const domain::WrappedKey& wrapped,
                                                   const std::string& context) override;
  [[nodiscard]] Result<std::string> current_key_id() override { return present_->current_key_id(); }
  Result<std::string> rotate() override { return present_->rotate(); }

 private:
  std::unique_ptr<domain::KeyProvider> present_;
  std::unique_ptr<domain::KeyProvider> former_;
};

}  // namespace alga::vault
