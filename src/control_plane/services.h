#pragma once

#include <mutex>

#include "control_plane/api.h"
#include "control_plane/api_keys.h"
#include "control_plane/artefact_inventory.h"
#include "control_plane/audit.h"
#include "control_plane/broker.h"
#include "control_plane/changes.h"
#include "control_plane/core.h"
#include "control_plane/data_keys.h"
#include "control_plane/envelopes.h"
#include "control_plane/install_config.h"
#include "control_plane/install_directory.h"
#include "control_plane/installs.h"
#include "control_plane/keep_compiled.h"
#include "control_plane/lease_holders.h"
#include "control_plane/log_query.h"
#include "control_plane/publishers.h"
#include "control_plane/publishing.h"
#include "control_plane/quotas.h"
#include "control_plane/record_writer.h"
#include "control_plane/registry.h"
#include "control_plane/retention.h"
#include "control_plane/settings.h"
#include "control_plane/signing_keys.h"
#include "control_plane/sql_idempotency.h"
#include "control_plane/staging.h"
#include "control_plane/storage_records.h"
#include "control_plane/storage_schemas.h"
#include "control_plane/tenants.h"
#include "control_plane/warm_ups.h"
#include "domain/grant.h"
#include "domain/quota.h"

namespace alga::control_plane {

[[nodiscard]] inline domain::Rate upload_rate(const PublishPolicy& policy) {
  return {policy.uploads, policy.uploads_window / std::max(policy.uploads, 1U)};
}

/// The services of one control plane, wired to one another. Declared in the order of their needs.
struct Services {
  explicit Services(Dependencies dependencies) : core(std::move(dependencies)) {}

  Core core;
  Changes changes;
  LeaseHolders leases{core};
  SigningKeys signing{core};
  ApiKeys api_keys{core};
  Tenants tenants{core};
  Publishers publishers{core};
  Registry registry{core};
  Staging staging{core};
  domain::RateLimiter uploads{*core.deps().clock, upload_rate(core.options().publishing)};
  ArtefactInventory artefacts{core};
  Publishing publishing{core, staging, artefacts};
  Installs installs{core, changes};
  DataKeys data_keys{core};
  Settings settings{core, data_keys, changes};
  Envelopes envelopes{core, settings};
  Broker broker{core, settings, signing};
  InstallConfigAssembler assembler{core, envelopes, broker, signing, artefacts};
  CachedInstallConfigs install_configs{core, assembler, broker, changes, leases};
  SqlInstallDirectory install_directory{core};
  StorageRecords storage_records{core, storage_limits(core.options().limits)};
  SqlExtensionStorage storage{core, storage_records};
  StorageSchemas storage_schemas{core};
  SqlIdempotencyStore idempotency{core};
  AuditSealer sealer{core, signing};
  Retention retention{core};
  Quotas quotas{core};
  LogFollowers log_followers{core};
  std::mutex verifying_audit;  ///< held by whoever verifies over the API
  domain::GrantVerifier grants{*core.deps().clock};
  RecordWriter records{core};
  WarmUps warm_ups{core, signing};
  KeepCompiled keep_compiled{core, artefacts, warm_ups};
};

// Each family of routes, by noun. The services outlive the router.
void add_access_routes(Api& api, Services& services);
void add_publishing_routes(Api& api, Services& services);
void add_registry_routes(Api& api, Services& services);
void add_install_routes(Api& api, Services& services);
void add_setting_routes(Api& api, Services& services);
void add_internal_routes(Api& api, Services& services);
void add_redeem_routes(Api& api, Services& services);
void add_storage_routes(Api& api, Services& services);
void add_storage_schema_routes(Api& api, Services& services);
void add_quota_routes(Api& api, Services& services);
void add_record_routes(Api& api, Services& services);
void add_compat_routes(Api& api, Services& services);
void add_meta_routes(Api& api, Services& services);

}  // namespace alga::control_plane
