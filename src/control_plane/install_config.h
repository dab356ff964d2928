#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "control_plane/artefact_inventory.h"
#include "control_plane/broker.h"
#include "control_plane/changes.h"
#include "control_plane/core.h"
#include "control_plane/envelopes.h"
#include "control_plane/lease_holders.h"
#include "control_plane/signing_keys.h"
#include "domain/ports/install_configs.h"

namespace alga::control_plane {

/// Puts together what one invocation needs and signs the grant. Blocks.
class InstallConfigAssembler {
 public:
  InstallConfigAssembler(const Core& core, Envelopes& envelopes, const Broker& broker,
                         const SigningKeys& keys, ArtefactInventory& artefacts)
      : core_(core), envelopes_(envelopes), broker_(broker), keys_(keys), artefacts_(artefacts) {}

  /// Errors: `install.not_found` (also when disabled), `extension.untrusted`, and those of sql and
  /// of the key provider.
  [[nodiscard]] Result<std::shared_ptr<const domain::InstallConfig>> assemble(
      const TenantId& tenant, const std::string& ref) const;
  /// The generation of an enabled install; cheap. Error: `install.not_found`.
  [[nodiscard]] Result<std::string> generation(const TenantId& tenant,
                                               const std::string& install) const;
  /// Until when an answer may be used again: half the life of its grant, and never so long that
  /// its envelope is about to expire.
  [[nodiscard]] WallTime renew_at(const domain::InstallConfig& config) const;

 private:
  Status add_secrets(domain::InstallConfig& config, const InstallRow& install) const;
  /// What its kept answers are sealed with: an HMAC under a key of the control plane.
  void add_answer_key(domain::InstallConfig& config) const;
  Status add_grant(domain::InstallConfig& config, const InstallRow& install, WallTime now) const;

  const Core& core_;
  Envelopes& envelopes_;
  const Broker& broker_;
  const SigningKeys& keys_;
  ArtefactInventory& artefacts_;
};

/// domain::InstallConfigs in the process of the control plane. An answer is reused for at most one
/// lease after the database confirmed it, never past half the life of its grant, and never once a
/// change was announced in this process. Broker tokens are minted for each request. Thread-safe.
class CachedInstallConfigs final : public domain::InstallConfigs {
 public:
  CachedInstallConfigs(const Core& core, const InstallConfigAssembler& assembler,
                       const Broker& broker, const Changes& changes, const LeaseHolders& leases)
      : core_(core), assembler_(assembler), broker_(broker), changes_(changes), leases_(leases) {}

  async::Task<Result<std::shared_ptr<const domain::InstallConfig>>> resolve(
      TenantId tenant, std::string extension) override;

  using Answer = std::shared_ptr<const domain::InstallConfig>;
  /// The same for callers that may block.
  [[nodiscard]] Result<Answer> resolve_blocking(const TenantId& tenant,
                                                const std::string& extension);
  /// The same for callers with a lease of their own, which must not be added to ours: the database
  /// is asked each time whether the answer still holds.
  [[nodiscard]] Result<Answer> confirm_blocking(const TenantId& tenant,
                                                const std::string& extension);

 private:
  using Name = std::pair<std::string, std::string>;
  struct Entry {
    Answer config;
    std::uint64_t changes = 0;
    SteadyTime confirmed_until;
    WallTime renew_at;
  };
  [[nodiscard]] Result<Answer> confirm_or_assemble(const TenantId& tenant,
                                                   const std::string& extension,
                                                   std::chrono::milliseconds lease);
  /// The answer for one request: a broker token is minted for each and never kept.
  [[nodiscard]] Answer for_request(Answer answer) const;
  /// A reusable answer, or none.
  [[nodiscard]] Answer fresh(const Name& name);
  [[nodiscard]] Answer renewable(const Name& name);
  [[nodiscard]] bool is_of_the_future(const domain::InstallConfig& config) const;
  void remember(const Name& name, Entry entry);
  void forget(const Name& name);

  const Core& core_;
  const InstallConfigAssembler& assembler_;
  const Broker& broker_;
  const Changes& changes_;
  const LeaseHolders& leases_;
  std::mutex mutex_;
  std::map<Name, Entry> entries_;
};

}  // namespace alga::control_plane
