#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "async/task.h"
#include "control_plane/api_keys.h"
#include "control_plane/core.h"
#include "control_plane/lease_holders.h"
#include "httpd/message.h"
#include "json/decode.h"

namespace alga::control_plane {

/// Who may call a route. Whoever is not signed in gets 401, whoever has another role 403.
enum class Access : std::uint8_t {
  anyone_signed_in,
  operators,
  publishers,     ///< and operators
  tenant_admins,  ///< and operators, who name the tenant
};

/// One authenticated call, as an action on the blocking pool sees it.
struct Call {
  const httpd::Request& request;
  Caller caller;

  /// The tenant of the principal. An operator names it by `x-tenant-id` or by `named`, the body's
  /// member. Errors: `request.tenant_missing`, and `auth.forbidden` when a tenant-bound principal
  /// names somebody else's.
  [[nodiscard]] Result<TenantId> tenant(const std::optional<std::string>& named = {}) const;
  /// A path parameter of the route's pattern.
  [[nodiscard]] std::string param(std::string_view name) const;
  [[nodiscard]] Result<json::Document> body() const;
  /// `limit` within [1, most]. Error: `request.invalid`.
  [[nodiscard]] Result<std::uint32_t> limit(std::uint32_t usual, std::uint32_t most) const;
};

using Action = std::function<Result<httpd::Response>(const Call&)>;
/// How a family of routes says that something failed.
using ErrorWriter = httpd::Response (*)(const Error& error, std::string_view request_id);

struct ActionOptions {
  httpd::RouteOptions route;
  ErrorWriter error = &httpd::error_response;
  /// The answer waits until no gateway can be serving from before the change.
  bool changes_installs = false;
  /// Of an open route: who may send a body, judged before it is read; must not block. The action
  /// judges itself all the same.
  std::function<Status(const httpd::Request&)> admit;
};

/// Puts routes on a router: authentication, role, hop to the blocking pool, errors. No body is read
/// of somebody who may not call the route. The router, others outlive the server that uses them.
class Api {
 public:
  Api(const Core& core, const ApiKeys& keys, const LeaseHolders& leases, httpd::Router& router)
      : core_(core), keys_(keys), leases_(leases), router_(router) {}

  void add(std::string_view method, std::string_view pattern, Access access, Action action,
           ActionOptions options = {});
  /// For internal doors with tokens of their own: the action gets the request and judges itself.
  using OpenAction = std::function<Result<httpd::Response>(const httpd::Request&)>;
  void add_open(std::string_view method, std::string_view pattern, OpenAction action,
                ActionOptions options = {});
  [[nodiscard]] httpd::Router& router() const { return router_; }

 private:
  const Core& core_;
  const ApiKeys& keys_;
  const LeaseHolders& leases_;
  httpd::Router& router_;
};

/// The principal behind `Authorization: Bearer` or `x-api-key`. Errors: `auth.missing_token`,
/// `auth.invalid_token`, and `request.ambiguous` for one or the tenant named twice.
async::Task<Result<domain::Principal>> authenticate(const Core* core, const ApiKeys* keys,
                                                    const httpd::Request* request);
/// Error: `auth.forbidden`.
Status authorise(const domain::Principal& principal, Access access);

/// True when the header is there and is a line of `expected`; in constant time.
[[nodiscard]] bool has_token(const httpd::Request& request, std::string_view header,
                             const Secret& expected);

[[nodiscard]] httpd::Response json_answer(std::uint16_t status, const boost::json::value& body);
[[nodiscard]] httpd::Response no_content();

}  // namespace alga::control_plane
