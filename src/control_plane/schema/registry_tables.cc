#include "control_plane/schema/tables.h"

namespace alga::control_plane::schema {

const std::string_view kRegistryTables = R"sql(
CREATE TABLE publishers (
  id {key} NOT NULL PRIMARY KEY,
  name {key} NOT NULL UNIQUE,
  created_at {int} NOT NULL
) {strict};

CREATE TABLE publisher_keys (
  publisher_id {key} NOT NULL REFERENCES publishers (id),
  key_id {key} NOT NULL,
  public_key {blob} NOT NULL,
  created_at {int} NOT NULL,
  revoked_at {int},
  PRIMARY KEY (publisher_id, key_id)
) {strict};

CREATE TABLE extension_registry (
  id {key} NOT NULL PRIMARY KEY,
  publisher_id {key} NOT NULL REFERENCES publishers (id),
  name {key} NOT NULL,
  slug {key} NOT NULL UNIQUE,
  display_name {text},
  description {text},
  restricted {int} NOT NULL DEFAULT 0,
  created_at {int} NOT NULL,
  updated_at {int} NOT NULL,
  UNIQUE (publisher_id, name)
) {strict};

CREATE TABLE extension_version (
  id {key} NOT NULL PRIMARY KEY,
  extension_id {key} NOT NULL REFERENCES extension_registry (id),
  version {key} NOT NULL,
  major {int} NOT NULL,
  minor {int} NOT NULL,
  patch {int} NOT NULL,
  prerelease {key} NOT NULL,
  runtime {text} NOT NULL,
  manifest {text} NOT NULL,
  capabilities {text} NOT NULL,
  egress {text} NOT NULL,
  endpoints_declared {int} NOT NULL,
  client_portal {int} NOT NULL,
  has_ui {int} NOT NULL,
  created_at {int} NOT NULL,
  created_by {text} NOT NULL,
  UNIQUE (extension_id, version)
) {strict};

CREATE TABLE extension_bundle (
  version_id {key} NOT NULL REFERENCES extension_version (id),
  content_hash {key} NOT NULL,
  size_bytes {int} NOT NULL,
  canonical_key {text} NOT NULL,
  signature_key_id {key},
  signature {blob},
  component_imports {text} NOT NULL,
  warnings {text} NOT NULL,
  created_at {int} NOT NULL,
  PRIMARY KEY (version_id, content_hash)
) {strict};
CREATE INDEX extension_bundle_hash ON extension_bundle (content_hash);

CREATE TABLE extension_api_endpoint (
  version_id {key} NOT NULL REFERENCES extension_version (id),
  position {int} NOT NULL,
  method {key} NOT NULL,
  path {key} NOT NULL,
  handler {text},
  PRIMARY KEY (version_id, method, path)
) {strict};

CREATE TABLE extension_source_map (
  version_id {key} NOT NULL REFERENCES extension_version (id),
  path {key} NOT NULL,
  source_map {blob} NOT NULL,
  PRIMARY KEY (version_id, path)
) {strict};

CREATE TABLE extension_pilot_tenant (
  tenant {key} NOT NULL,
  extension_id {key} NOT NULL REFERENCES extension_registry (id),
  created_at {int} NOT NULL,
  PRIMARY KEY (tenant, extension_id)
) {strict};

CREATE TABLE bundle_staging (
  id {key} NOT NULL PRIMARY KEY,
  principal {key} NOT NULL,
  filename {text} NOT NULL,
  size_bytes {int} NOT NULL,
  content_hash {key} NOT NULL,
  created_at {int} NOT NULL
) {strict};
CREATE INDEX bundle_staging_age ON bundle_staging (created_at);
)sql";

}  // namespace alga::control_plane::schema
