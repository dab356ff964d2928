#pragma once

#include <boost/json/object.hpp>
#include <string>
#include <vector>

#include "control_plane/core.h"
#include "control_plane/operations.h"
#include "control_plane/signing_keys.h"

namespace alga::control_plane {

/// Something that somebody did. `action` is `noun.verb` (`install.granted`), `target` an id or a
/// name; neither target nor details may hold a secret's value.
struct AuditEvent {
  std::string tenant;
  std::string action;
  std::string target;
  boost::json::object details;
};

/// Writes the event in the transaction of what it tells about: neither exists without the other.
Status append_audit(sql::Executor& sql, const Core& core, const Caller& caller, AuditEvent event);

/// Events as `GET /api/v1/audit` shows them, newest first; those older than `before`, the id of
/// one, unless it is empty.
[[nodiscard]] Result<std::vector<boost::json::object>> list_audit(const Core& core,
                                                                  const std::string& tenant,
                                                                  std::uint32_t limit,
                                                                  const std::string& before);

/// Seals what was appended: the waiting events of each tenant become a batch, its hash continues
/// the tenant's chain and is signed. Called every second and at shutdown; safe on several hosts at
/// once.
class AuditSealer {
 public:
  AuditSealer(const Core& core, const SigningKeys& keys) : core_(core), keys_(keys) {}
  /// Answers the number of events sealed.
  Result<std::uint64_t> seal();

 private:
  Result<std::uint64_t> seal_tenant(const std::string& tenant);
  const Core& core_;
  const SigningKeys& keys_;
};

}  // namespace alga::control_plane
