#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "domain/execute.h"

namespace alga::domain {

enum class Role : std::uint8_t {
  operator_,     ///< the vendor: everything, every tenant
  publisher,     ///< publishes under one publisher's name
  tenant_admin,  ///< installs, grants and configures for one tenant
  tenant_user,   ///< uses the extensions of one tenant
  client_user,   ///< a customer of one tenant: only what the client portal offers
};

/// `operator`, `publisher`, `tenant_admin`, `tenant_user`, `client_user`.
[[nodiscard]] constexpr std::string_view to_string(Role role) {
  switch (role) {
    case Role::operator_: return "operator";
    case Role::publisher: return "publisher";
    case Role::tenant_admin: return "tenant_admin";
    case Role::tenant_user: return "tenant_user";
    case Role::client_user: return "client_user";
  }
  return "client_user";
}

[[nodiscard]] constexpr std::optional<Role> parse_role(std::string_view text) {
  for (Role role : {Role::operator_, Role::publisher, Role::tenant_admin, Role::tenant_user,
                    Role::client_user}) {
    if (text == to_string(role)) return role;
  }
  return std::nullopt;
}

/// True for the roles that belong to exactly one tenant.
[[nodiscard]] constexpr bool is_tenant_bound(Role role) {
  return role == Role::tenant_admin || role == Role::tenant_user || role == Role::client_user;
}

/// What a user of a tenant may call of its extensions. An identity provider can take of it; what
/// else there is of credentials gives all.
struct ExtensionRights {
  bool read = true;   ///< GET and HEAD
  bool write = true;  ///< every other method
};

/// Who is calling, after the credentials were believed. `tenant` is set exactly for the
/// tenant-bound roles, `publisher` (its name) exactly for publishers.
struct Principal {
  enum class Source : std::uint8_t { api_key, bootstrap, oidc, session };

  std::string id;  ///< stable, printable; goes to the audit log
  Role role = Role::client_user;
  Source source = Source::api_key;
  std::optional<TenantId> tenant;
  std::optional<std::string> publisher;
  std::string label;
  std::optional<UserIdentity> user;  ///< for sources that name a person
  ExtensionRights extensions;

  [[nodiscard]] bool is_operator() const { return role == Role::operator_; }
};

}  // namespace alga::domain
