#pragma once

#include <boost/json/object.hpp>
#include <optional>
#include <string>
#include <vector>

#include "control_plane/core.h"
#include "domain/capability.h"
#include "domain/ports/install_configs.h"

namespace alga::control_plane {

/// A published version with its bundle, as installs need it.
struct PublishedVersion {
  std::string id;
  std::string extension_id;
  std::string publisher_id;
  std::string slug;
  std::string version;
  std::string content_hash;
  domain::CapabilitySet requested;
  std::vector<std::string> egress;
  bool endpoints_declared = false;
  bool client_portal = false;
  std::optional<std::string> signature_key_id;
  std::string signature;  ///< bytes; empty without `signature_key_id`
};

/// What has been published. Reading is open to every authenticated caller, except that restricted
/// extensions (pilots) show themselves only to operators, publishers and the tenants on their list.
class Registry {
 public:
  explicit Registry(const Core& core) : core_(core) {}

  [[nodiscard]] Result<std::vector<boost::json::object>> list(const Caller& caller) const;
  /// By registry id or slug. Error: `extension.not_found`.
  [[nodiscard]] Result<boost::json::object> get(const Caller& caller, const std::string& ref) const;

  /// The source map of a version (its number or its id), for its publisher and for operators: it
  /// quotes the author's source. Error: `extension.source_map_not_found`, whatever is missing.
  [[nodiscard]] Result<std::string> source_map(const Caller& caller, const std::string& ref,
                                               const std::string& version) const;

  /// Marks an extension as a pilot and replaces the list of its tenants; an empty optional opens it
  /// to everybody. Operators only. Error: `extension.not_found`.
  Status restrict_to(const Caller& caller, const std::string& ref,
                     const std::optional<std::vector<std::string>>& tenants);

 private:
  Result<std::vector<boost::json::object>> select(const Caller& caller,
                                                  const std::optional<std::string>& ref) const;
  const Core& core_;
};

/// The version named, or the newest release when `version` is empty, of an extension that `tenant`
/// may install. Errors: `extension.not_found`, `extension.version_not_found`,
/// `extension.untrusted`.
[[nodiscard]] Result<PublishedVersion> find_version(sql::Executor& sql, const PublishPolicy& policy,
                                                    const TenantId& tenant, const std::string& ref,
                                                    const std::string& version);
/// Whether the bundle `content_hash` may be installed, or be run, as this version: it is signed by
/// a key that its publisher still stands for, or unsigned where signatures are not required. Error:
/// `extension.untrusted`.
[[nodiscard]] Status check_trust(sql::Executor& sql, const PublishPolicy& policy,
                                 const PublishedVersion& version, const std::string& content_hash);
/// By its id; it exists.
[[nodiscard]] Result<PublishedVersion> load_version(sql::Executor& sql, const std::string& id);
[[nodiscard]] Result<std::vector<domain::Endpoint>> load_endpoints(sql::Executor& sql,
                                                                   const std::string& version_id);

}  // namespace alga::control_plane
