#include "control_plane/schema/tables.h"

namespace alga::control_plane::schema {

const std::string_view kAccessTables = R"sql(
CREATE TABLE tenants (
  id {key} NOT NULL PRIMARY KEY,
  name {text} NOT NULL,
  disabled_at {int},
  created_at {int} NOT NULL
) {strict};

CREATE TABLE api_keys (
  id {key} NOT NULL PRIMARY KEY,
  secret_hash {text} NOT NULL,
  kind {text} NOT NULL CHECK (kind IN ('api_key', 'bootstrap')),
  label {text} NOT NULL,
  role {text} NOT NULL,
  tenant {key} REFERENCES tenants (id),
  publisher_id {key} REFERENCES publishers (id),
  created_at {int} NOT NULL,
  created_by {text} NOT NULL,
  expires_at {int},
  revoked_at {int}
) {strict};

CREATE TABLE principals (
  issuer {key} NOT NULL,
  subject {key} NOT NULL,
  role {text} NOT NULL,
  tenant {key} REFERENCES tenants (id),
  publisher_id {key} REFERENCES publishers (id),
  label {text} NOT NULL,
  created_at {int} NOT NULL,
  PRIMARY KEY (issuer, subject)
) {strict};

CREATE TABLE signing_keys (
  purpose {key} NOT NULL,
  kid {key} NOT NULL,
  public_key {blob} NOT NULL,
  wrapping_key_id {key} NOT NULL,
  wrapped_seed {blob} NOT NULL,
  created_at {int} NOT NULL,
  signs_from {int} NOT NULL,
  verifies_until {int},
  PRIMARY KEY (purpose, kid)
) {strict};

CREATE TABLE tenant_data_keys (
  tenant {key} NOT NULL,
  key_version {int} NOT NULL,
  wrapping_key_id {key} NOT NULL,
  wrapped_key {blob} NOT NULL,
  created_at {int} NOT NULL,
  PRIMARY KEY (tenant, key_version)
) {strict};
)sql";

}  // namespace alga::control_plane::schema
