#pragma once

#include <memory>
#include <string>

#include "async/task.h"
#include "base/result.h"
#include "domain/http.h"
#include "domain/ports/authenticator.h"
#include "domain/ports/install_configs.h"
#include "domain/principal.h"

namespace alga::gateway {

/// What the access policy looks at.
struct AccessRequest {
  domain::Headers headers;
  std::string extension;  ///< install id, registry id or slug, as in the URL
  std::string method;
  std::string path;  ///< behind the extension, encoded
  bool allow_undeclared_endpoints = false;
};

/// A request that may go on.
struct Access {
  domain::Principal principal;
  std::shared_ptr<const domain::InstallConfig> install;
  std::string endpoint;        ///< the declared template, or empty
  bool declares_head = false;  ///< the endpoint was declared for HEAD itself
};

/// Who is calling. Errors: `gateway.unauthenticated`, `gateway.ambiguous_header`,
/// `gateway.policy_unavailable`. `headers` outlives the task.
[[nodiscard]] async::Task<Result<domain::Principal>> authenticate(
    const domain::Headers* headers, domain::Authenticator* principals);

/// The reference's access policy, in its order: who, which tenant, which install, which endpoint,
/// which role. Errors as above and `gateway.tenant_required`, `gateway.tenant_mismatch`,
/// `gateway.extension_not_available` (unknown, foreign and disabled look alike),
/// `gateway.endpoint_not_found`, `gateway.forbidden`.
[[nodiscard]] async::Task<Result<Access>> admit(AccessRequest request,
                                                domain::Authenticator* principals,
                                                domain::InstallConfigs* installs);

}  // namespace alga::gateway
