#pragma once

#include <boost/json/object.hpp>
#include <string>
#include <vector>

#include "control_plane/core.h"

namespace alga::control_plane {

/// The tenants of the platform. Operators only; the routes check that. Blocks.
class Tenants {
 public:
  explicit Tenants(const Core& core) : core_(core) {}
  /// Errors: `request.invalid`, `tenant.exists`.
  Result<boost::json::object> create(const Caller& caller, const std::string& id,
                                     const std::string& name);
  [[nodiscard]] Result<std::vector<boost::json::object>> list() const;

 private:
  const Core& core_;
};

/// `tenant.not_found` unless the tenant exists.
Status require_tenant(sql::Executor& sql, const TenantId& tenant);

}  // namespace alga::control_plane
