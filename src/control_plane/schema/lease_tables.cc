#include "control_plane/schema/tables.h"

namespace alga::control_plane::schema {

/// One row counts the changes of installs, in their transactions; the other table says who may be
/// serving from before one of them, and until when (milliseconds of the database's clock).
const std::string_view kLeaseTables = R"sql(
CREATE TABLE change_feed (
  id {int} NOT NULL PRIMARY KEY CHECK (id = 1),
  seq {int} NOT NULL
) {strict};
INSERT INTO change_feed (id, seq) VALUES (1, 0);

CREATE TABLE lease_holders (
  id {key} NOT NULL PRIMARY KEY,
  confirmed_seq {int} NOT NULL,
  expires_at {int} NOT NULL
) {strict};
)sql";

/// Nobody was ever written into `principals`: who signs in with OIDC or a session token brings
/// tenant and roles in the signed token, and who holds an API key has them in `api_keys`.
const std::string_view kNoPrincipals = R"sql(
DROP TABLE principals;
)sql";

}  // namespace alga::control_plane::schema
