#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "async/task.h"
#include "base/clock.h"
#include "base/ids.h"
#include "base/result.h"
#include "domain/execute.h"
#include "domain/ports/idempotency.h"

namespace alga::domain {

/// An endpoint that the installed version declares.
struct Endpoint {
  std::string method;  ///< upper case
  std::string path;    ///< `/a/:param`
};

/// What `POST /internal/runner/install-config` answers: everything that one invocation needs.
struct InstallConfig {
  TenantId tenant;
  std::string slug;
  InstallId install;
  VersionId version;
  ExtensionId registry;
  ContentHash content_hash;
  std::map<std::string, std::string> config;
  std::vector<std::string> providers;  ///< effective capabilities, `cap:…`
  std::string config_version;
  std::string secrets_version;
  std::optional<SecretEnvelope> envelope;
  std::string grant;  ///< compact signed token, at most 60 s of life
  WallTime grant_expires;
  std::vector<Endpoint> endpoints;
  bool endpoints_declared = false;
  bool client_portal = false;  ///< the UI has a client-portal hook
  RequestedLimits limits;
  /// Grows with every change of this install: configuration, secrets, grants, enablement.
  std::string generation;
  /// None from a control plane that is older.
  std::shared_ptr<const AnswerKey> answer_key = nullptr;
};

/// Resolves an install by install id, registry id or slug. Errors: `install.not_found` (also when
/// disabled), `install.unavailable`.
class InstallConfigs {
 public:
  virtual ~InstallConfigs() = default;
  virtual async::Task<Result<std::shared_ptr<const InstallConfig>>> resolve(
      TenantId tenant, std::string extension) = 0;
};

}  // namespace alga::domain
