#include "control_plane/schema/tables.h"

namespace alga::control_plane::schema {

/// Which runner owns which broker token, until the token expires. `runner` is the fingerprint of
/// its certificate.
const std::string_view kBrokerTables = R"sql(
CREATE TABLE secret_redemptions (
  tenant {key} NOT NULL,
  token_id {key} NOT NULL,
  install_id {key} NOT NULL,
  runner {text} NOT NULL,
  first_at {int} NOT NULL,
  expires_at {int} NOT NULL,
  PRIMARY KEY (tenant, token_id)
) {strict};
CREATE INDEX secret_redemptions_by_expiry ON secret_redemptions (expires_at);
)sql";

}  // namespace alga::control_plane::schema
