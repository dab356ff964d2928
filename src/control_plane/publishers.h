#pragma once

#include <boost/json/object.hpp>
#include <optional>
#include <string>
#include <vector>

#include "control_plane/core.h"
#include "crypto/sign.h"

namespace alga::control_plane {

/// Publishers and the keys that they sign bundles with. Names are lower case, because they begin
/// slugs. Blocks. Operators only, except that a publisher manages its own keys.
class Publishers {
 public:
  explicit Publishers(const Core& core) : core_(core) {}

  /// Errors: `request.invalid`, `publisher.exists`.
  Result<boost::json::object> create(const Caller& caller, const std::string& name);
  [[nodiscard]] Result<std::vector<boost::json::object>> list() const;

  /// `public_key`: base64 of 32 bytes. Answers the key id. Errors: `publisher.not_found`,
  /// `publisher.bad_key`, `publisher.key_exists`, `auth.forbidden`.
  Result<std::string> add_key(const Caller& caller, const std::string& publisher,
                              const std::string& public_key);
  [[nodiscard]] Result<std::vector<boost::json::object>> keys(const Caller& caller,
                                                              const std::string& publisher) const;
  /// Bundles signed with it are refused from now on, published ones included: they no longer
  /// install. Error: `publisher.key_not_found`.
  Status revoke_key(const Caller& caller, const std::string& publisher, const std::string& key_id);

 private:
  Result<std::string> owned_id(sql::Executor& sql, const Caller& caller,
                               const std::string& publisher) const;
  const Core& core_;
};

/// The keys of a publisher that have not been revoked, by key id.
Result<std::optional<crypto::PublicKey>> trusted_key(sql::Executor& sql,
                                                     const std::string& publisher_id,
                                                     const std::string& key_id);

}  // namespace alga::control_plane
