#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "control_plane/core.h"
#include "control_plane/settings.h"
#include "domain/execute.h"

namespace alga::control_plane {

/// The envelope in which an install's secrets travel.
struct InstallEnvelope {
  std::string version;  ///< of the secrets; empty when the install never had any
  std::optional<domain::SecretEnvelope> envelope;  ///< none when it has no secrets now
};

/// Makes envelopes and uses each again, for the same version of the secrets, until half of its life
/// is over: a busy install costs Vault one call in minutes, and its secrets stay open in the
/// runners' caches. While the sealer fails, an envelope serves on until shortly before it expires.
/// One call to the sealer per install at once. Only ciphertext is kept. Thread-safe; blocks.
class Envelopes {
 public:
  Envelopes(const Core& core, Settings& settings) : core_(core), settings_(settings) {}

  /// `version` is the one that the install has now. Errors: those of the key provider and of the
  /// sealer, and `secret.overload` when others have waited for the sealer too long.
  [[nodiscard]] Result<InstallEnvelope> get(const TenantId& tenant, const InstallId& install,
                                            const std::string& version);
  /// When an answer that carries this envelope must be made anew; none: never because of it.
  [[nodiscard]] std::optional<WallTime> renew_at(
      const std::optional<domain::SecretEnvelope>& envelope) const;

 private:
  struct Slot {
    std::timed_mutex sealing;  ///< held by the one that calls the sealer
    std::mutex mutex;          ///< guards the rest
    InstallEnvelope made;
    WallTime expires{};
  };
  [[nodiscard]] std::shared_ptr<Slot> slot(const TenantId& tenant, const InstallId& install);
  /// What was made for this version and is good for longer than `margin`.
  [[nodiscard]] std::optional<InstallEnvelope> kept(Slot& slot, const std::string& version,
                                                    std::chrono::milliseconds margin) const;
  [[nodiscard]] Result<InstallEnvelope> make(Slot& slot, const TenantId& tenant,
                                             const InstallId& install);
  /// An envelope with less life than this is not given away.
  [[nodiscard]] std::chrono::milliseconds least_life() const;

  const Core& core_;
  Settings& settings_;
  std::mutex mutex_;
  std::map<std::pair<std::string, std::string>, std::shared_ptr<Slot>> slots_;
};

}  // namespace alga::control_plane
