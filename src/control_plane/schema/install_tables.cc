#include "control_plane/schema/tables.h"

namespace alga::control_plane::schema {

const std::string_view kInstallTables = R"sql(
CREATE TABLE tenant_extension_install (
  tenant {key} NOT NULL REFERENCES tenants (id),
  id {key} NOT NULL,
  extension_id {key} NOT NULL REFERENCES extension_registry (id),
  version_id {key} NOT NULL REFERENCES extension_version (id),
  content_hash {key} NOT NULL,
  is_enabled {int} NOT NULL,
  status {text} NOT NULL CHECK (status IN ('enabled', 'disabled', 'pending')),
  runner_domain {key} UNIQUE,
  timeout_ms {int},
  memory_mb {int},
  generation {int} NOT NULL,
  created_at {int} NOT NULL,
  updated_at {int} NOT NULL,
  PRIMARY KEY (tenant, id),
  UNIQUE (tenant, extension_id)
) {strict};
CREATE UNIQUE INDEX tenant_extension_install_id ON tenant_extension_install (id);
CREATE INDEX tenant_extension_install_version ON tenant_extension_install (version_id);

CREATE TABLE tenant_extension_install_grant (
  tenant {key} NOT NULL,
  install_id {key} NOT NULL,
  capability {key} NOT NULL,
  withheld {int} NOT NULL DEFAULT 0,
  granted_at {int} NOT NULL,
  granted_by {text} NOT NULL,
  PRIMARY KEY (tenant, install_id, capability),
  FOREIGN KEY (tenant, install_id) REFERENCES tenant_extension_install (tenant, id) ON DELETE CASCADE
) {strict};

CREATE TABLE tenant_extension_install_egress (
  tenant {key} NOT NULL,
  install_id {key} NOT NULL,
  rule {key} NOT NULL,
  granted_at {int} NOT NULL,
  granted_by {text} NOT NULL,
  PRIMARY KEY (tenant, install_id, rule),
  FOREIGN KEY (tenant, install_id) REFERENCES tenant_extension_install (tenant, id) ON DELETE CASCADE
) {strict};

CREATE TABLE tenant_extension_install_config (
  tenant {key} NOT NULL,
  install_id {key} NOT NULL,
  config {text} NOT NULL,
  version {key} NOT NULL,
  updated_at {int} NOT NULL,
  PRIMARY KEY (tenant, install_id),
  FOREIGN KEY (tenant, install_id) REFERENCES tenant_extension_install (tenant, id) ON DELETE CASCADE
) {strict};

CREATE TABLE tenant_extension_install_secrets (
  tenant {key} NOT NULL,
  install_id {key} NOT NULL,
  names {text} NOT NULL,
  ciphertext {blob} NOT NULL,
  algorithm {text} NOT NULL,
  key_version {int} NOT NULL,
  version {key} NOT NULL,
  updated_at {int} NOT NULL,
  PRIMARY KEY (tenant, install_id),
  FOREIGN KEY (tenant, install_id) REFERENCES tenant_extension_install (tenant, id) ON DELETE CASCADE
) {strict};
)sql";

const std::string_view kInstallCpuTime = R"sql(
ALTER TABLE tenant_extension_install ADD COLUMN cpu_ms {int};
)sql";

}  // namespace alga::control_plane::schema
