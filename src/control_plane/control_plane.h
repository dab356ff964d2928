#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "async/blocking_pool.h"
#include "async/task.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/random.h"
#include "base/result.h"
#include "base/secret.h"
#include "crypto/locked_bytes.h"
#include "crypto/sign.h"
#include "domain/limits.h"
#include "domain/ports/artefact_compiler.h"
#include "domain/ports/authenticator.h"
#include "domain/ports/bundle_store.h"
#include "domain/ports/change_feed.h"
#include "domain/ports/component_inspector.h"
#include "domain/ports/envelope_sealer.h"
#include "domain/ports/execution_log.h"
#include "domain/ports/idempotency.h"
#include "domain/ports/install_configs.h"
#include "domain/ports/install_directory.h"
#include "domain/ports/key_provider.h"
#include "domain/ports/records.h"
#include "domain/ports/storage.h"
#include "domain/ports/warm_up_target.h"
#include "httpd/message.h"
#include "sql/database.h"

namespace alga::control_plane {

/// How publishing judges what it is given.
struct PublishPolicy {
  std::uint64_t max_archive_bytes = 64ULL << 20U;
  std::uint64_t max_component_bytes = 64ULL << 20U;
  /// Refuse (instead of warn about) imports whose capability the manifest does not declare.
  bool exact_imports = false;
  /// Refuse bundles without a valid signature of the publisher.
  bool require_signatures = false;
  /// Core modules of the legacy ABI: refused, or accepted until this moment.
  std::optional<WallTime> legacy_modules_until;
  /// Only these tenants may install; empty: all.
  std::vector<std::string> pilot_tenants;
  /// Uploads of one principal within `uploads_window`, in each process.
  std::uint32_t uploads = 30;
  std::chrono::milliseconds uploads_window{60'000};
};

/// Tokens of the internal callers. An empty one means that nobody can use that door.
struct InternalTokens {
  Secret install_config;  ///< `x-runner-auth` of install-config (`RUNNER_CONFIG_API_TOKEN`)
  Secret storage;         ///< `x-runner-auth` of the internal storage API
  Secret registry;        ///< `x-api-key` of lookup-by-host and validate (`ALGA_AUTH_KEY`)
};

struct RetentionPolicy {
  std::chrono::hours guest_logs{24 * 14};
  std::chrono::hours executions{24 * 90};
  /// A started execution whose gateway says nothing for so long is written off: longer than any
  /// may take.
  std::chrono::minutes unfinished{15};
  std::uint64_t guest_log_bytes_per_tenant = 256ULL << 20U;
};

/// How long the windows of quotas are; they begin with the hour, day or month of UTC.
enum class QuotaPeriod : std::uint8_t { hour, day, month };

/// What a tenant may use within one window; none: as much as it likes.
struct QuotaLimits {
  std::optional<std::uint64_t> invocations, cpu_ms, memory_mb_s, egress_bytes;
};

struct QuotaPolicy {
  QuotaPeriod period = QuotaPeriod::day;
  QuotaLimits limits;  ///< of tenants that have none of their own
};

/// `broker-token:v1`: secrets that runners redeem instead of carrying them.
struct BrokerPolicy {
  bool enabled = false;
  std::chrono::seconds token_life{30};
  /// Names (DNS or URI) in the certificates of runners; empty: every certificate that the
  /// listener's authority has signed.
  std::vector<std::string> runners;
};

/// Who redeems a broker token.
struct RunnerIdentity {
  std::string id;                  ///< for the audit trail
  std::string certificate_sha256;  ///< what owns the token
};

/// A broker token, and for what the runner believes it to be.
struct Redemption {
  std::string token;
  TenantId tenant;
  InstallId install;
  std::string version;
  std::string request_id;
};

struct Redeemed {
  crypto::LockedBytes json;  ///< an object of strings
  std::string version;       ///< of these secrets; another than the token's after a rotation
};

struct Options {
  /// Accepts well-known default tokens. Off, they are refused at start.
  bool development = false;
  InternalTokens tokens;
  PublishPolicy publishing;
  RetentionPolicy retention;
  QuotaPolicy quotas;
  /// What an install may store.
  domain::ServerLimits limits;
  /// How long a gateway may serve an install's configuration without asking again.
  std::chrono::milliseconds lease{1'000};
  /// Only the state that a gateway shares with the control plane of another process: principals,
  /// execution log, idempotency keys. No routes, no keys, no housekeeping, no migration; neither
  /// bundles, keys, inspector, compiler nor sealer are needed.
  bool gateway_only = false;
  /// True when processes that do not confirm changes may hold leases, a gateway inside another
  /// control plane on the same database for one: a change is then acknowledged when a lease has run
  /// out. Gateways that confirm are waited for in any case.
  bool remote_gateways = false;
  /// Whoever has the token of the storage API reaches the storage of every install, as in the
  /// earlier system; otherwise a runner shows the grant of the execution that asks.
  bool storage_without_grant = false;
  std::chrono::seconds grant_life{60};
  /// How long the answers of idempotent requests are kept.
  std::chrono::seconds idempotency_life{24 * 3600};
  /// Of a tenant's answers that are kept; the oldest make room. Counted in sixteenths.
  std::uint64_t idempotency_entries = 100'000;
  std::uint64_t idempotency_bytes = 256ULL << 20U;
  std::chrono::seconds envelope_life{300};
  BrokerPolicy broker;
  /// Each install gets the host name `<install id>.<domain_root>` for its pages; empty: none.
  std::string domain_root;
  /// Of compiled artefacts in the bundle store, all engines together; at least the largest artefact
  /// there may be.
  std::uint64_t artefact_bytes = 100ULL << 30U;
  /// How often what was used is written down, and what is over the bound looked for.
  std::chrono::milliseconds artefact_upkeep{60'000};
  /// Folder for uploads that are being checked; private to this process.
  std::filesystem::path scratch;
};

/// Everything the control plane stands on. All of it outlives the ControlPlane.
struct Dependencies {
  sql::Database* database = nullptr;
  async::BlockingPool* blocking = nullptr;
  domain::BundleStore* bundles = nullptr;
  domain::KeyProvider* keys = nullptr;
  domain::ComponentInspector* inspector = nullptr;
  domain::ArtefactCompiler* compiler = nullptr;
  /// Judges tokens that are no API keys (OIDC, session tokens); null: they are refused.
  domain::Authenticator* people = nullptr;
  const Clock* clock = nullptr;
  Random* random = nullptr;
  Metrics* metrics = nullptr;
  Logger log;
  /// Makes the envelopes in which secrets travel to runners.
  domain::EnvelopeSealer* sealer = nullptr;
  /// Called from a thread of the control plane when grant_keys() or broker_keys() has other keys
  /// than before; a runner of this process then tells its verifiers. May be empty; must not block.
  std::function<void()> grant_keys_changed;
  /// The runners that are told what was published; may be empty.
  std::vector<domain::WarmUpTarget*> warm_up;
  Options options;
};

/// A public key that verifies grants, and when it stops being valid.
struct GrantKey {
  std::string kid;
  crypto::PublicKey key;
};

/// The registry, the installs, their configuration and secrets, extension storage and the records:
/// all state of the platform, behind SQL. Thread-safe.
class ControlPlane {
 public:
  /// Migrates the schema, loads or makes the keys and, on an empty database, the bootstrap token.
  /// Blocks. Errors: those of sql and of the key provider, and `config.default_token`.
  [[nodiscard]] static Result<std::unique_ptr<ControlPlane>> create(Dependencies dependencies);

  virtual ~ControlPlane() = default;

  /// Registers every route of schema/openapi.json that the control plane serves.
  virtual void add_routes(httpd::Router& router) = 0;

  /// The in-process ports for gateway and runner. They live as long as this object.
  [[nodiscard]] virtual domain::InstallConfigs& install_configs() = 0;
  [[nodiscard]] virtual domain::InstallDirectory& install_directory() = 0;
  [[nodiscard]] virtual domain::ExtensionStorage& storage() = 0;
  [[nodiscard]] virtual domain::RecordSink& records() = 0;
  [[nodiscard]] virtual domain::ExecutionLog& executions() = 0;
  [[nodiscard]] virtual domain::Authenticator& authenticator() = 0;
  [[nodiscard]] virtual domain::IdempotencyStore& idempotency() = 0;

  /// The secrets broker, for a runner of this process. Blocks. Errors: `broker.*`, and those of sql
  /// and of the key provider.
  [[nodiscard]] virtual Result<Redeemed> redeem(const Redemption& redemption,
                                                const RunnerIdentity& runner) = 0;

  /// The bootstrap token, once: present only when create() made it.
  [[nodiscard]] virtual std::optional<Secret> take_bootstrap_token() = 0;

  /// Keys that verify grants now, newest first; they change when the signing key rotates.
  [[nodiscard]] virtual std::vector<GrantKey> grant_keys() const = 0;
  /// Those that verify tokens of the broker. A runner that has them gives secrets which it opened
  /// for one token to another one of the same install and version.
  [[nodiscard]] virtual std::vector<GrantKey> broker_keys() const = 0;

  /// What a gateway of another process is held to; null in the process of the control plane.
  [[nodiscard]] virtual const domain::ChangeFeed* change_feed() const = 0;

  /// Reachability of the database, for readiness. Blocks for at most a second.
  [[nodiscard]] virtual Status probe() = 0;

  /// Writes what is still in the record queues and ends the background work. Blocks until
  /// `deadline` at most. Called once, after the server has drained.
  virtual void stop(SteadyTime deadline) = 0;
};

}  // namespace alga::control_plane
