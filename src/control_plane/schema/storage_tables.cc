#include "control_plane/schema/tables.h"

namespace alga::control_plane::schema {

const std::string_view kStorageTables = R"sql(
CREATE TABLE ext_storage_records (
  tenant {key} NOT NULL,
  install_id {key} NOT NULL,
  namespace {key} NOT NULL,
  record_key {key} NOT NULL,
  revision {int} NOT NULL,
  encoding {text} NOT NULL CHECK (encoding IN ('bytes', 'json')),
  value {blob} NOT NULL,
  metadata {text},
  size_bytes {int} NOT NULL,
  ttl_expires_at {int},
  created_at {int} NOT NULL,
  updated_at {int} NOT NULL,
  PRIMARY KEY (tenant, install_id, namespace, record_key),
  FOREIGN KEY (tenant, install_id) REFERENCES tenant_extension_install (tenant, id) ON DELETE CASCADE
) {strict};
CREATE INDEX ext_storage_expiry ON ext_storage_records (tenant, install_id, ttl_expires_at);

CREATE TABLE ext_storage_namespaces (
  tenant {key} NOT NULL,
  install_id {key} NOT NULL,
  namespace {key} NOT NULL,
  keys_count {int} NOT NULL CHECK (keys_count >= 0),
  bytes_used {int} NOT NULL CHECK (bytes_used >= 0),
  PRIMARY KEY (tenant, install_id, namespace),
  FOREIGN KEY (tenant, install_id) REFERENCES tenant_extension_install (tenant, id) ON DELETE CASCADE
) {strict};

CREATE TABLE ext_storage_schemas (
  tenant {key} NOT NULL,
  install_id {key} NOT NULL,
  namespace {key} NOT NULL,
  schema_version {int} NOT NULL,
  schema_document {text} NOT NULL,
  status {text} NOT NULL CHECK (status IN ('active', 'deprecated', 'draft')),
  created_by {text} NOT NULL,
  created_at {int} NOT NULL,
  PRIMARY KEY (tenant, install_id, namespace, schema_version),
  FOREIGN KEY (tenant, install_id) REFERENCES tenant_extension_install (tenant, id) ON DELETE CASCADE
) {strict};
CREATE UNIQUE INDEX ext_storage_active_schema ON ext_storage_schemas (tenant, install_id, namespace)
  WHERE status = 'active';
)sql";

}  // namespace alga::control_plane::schema
