#include "control_plane/schema/tables.h"

namespace alga::control_plane::schema {

const std::string_view kRecordTables = R"sql(
CREATE TABLE extension_execution_log (
  tenant {key} NOT NULL,
  id {key} NOT NULL,
  install_id {key} NOT NULL,
  extension_id {key} NOT NULL,
  version_id {key} NOT NULL,
  request_id {key} NOT NULL,
  trace_id {text} NOT NULL,
  started_at {int} NOT NULL,
  finished_at {int},
  status {text} NOT NULL,
  end_class {text} NOT NULL DEFAULT '',
  code {text} NOT NULL DEFAULT '',
  http_status {int} NOT NULL DEFAULT 0,
  error {text} NOT NULL DEFAULT '',
  config_version {text} NOT NULL DEFAULT '',
  secrets_version {text} NOT NULL DEFAULT '',
  method {text} NOT NULL DEFAULT '',
  path {text} NOT NULL DEFAULT '',
  endpoint {text} NOT NULL DEFAULT '',
  principal_kind {text} NOT NULL DEFAULT '',
  user_id {text} NOT NULL DEFAULT '',
  duration_us {int} NOT NULL DEFAULT 0,
  record_id {key} NOT NULL DEFAULT '',
  metrics {text} NOT NULL DEFAULT '{}',
  author_error {text} NOT NULL DEFAULT '',
  PRIMARY KEY (tenant, id)
) {strict};
CREATE INDEX extension_execution_log_request ON extension_execution_log (tenant, request_id);
CREATE INDEX extension_execution_log_time ON extension_execution_log (tenant, started_at);
CREATE INDEX extension_execution_log_install
  ON extension_execution_log (tenant, install_id, started_at);

CREATE TABLE extension_guest_log (
  tenant {key} NOT NULL,
  id {key} NOT NULL,
  install_id {key} NOT NULL,
  extension_id {key} NOT NULL,
  version_id {key} NOT NULL,
  request_id {key} NOT NULL,
  at {int} NOT NULL,
  level {int} NOT NULL,
  stream {text} NOT NULL,
  message {text} NOT NULL,
  truncated {int} NOT NULL,
  PRIMARY KEY (tenant, id)
) {strict};
CREATE INDEX extension_guest_log_install ON extension_guest_log (tenant, install_id, id);

CREATE TABLE extension_audit_log (
  tenant {key} NOT NULL,
  id {key} NOT NULL,
  batch {int},
  at {int} NOT NULL,
  actor {text} NOT NULL,
  action {text} NOT NULL,
  target {text} NOT NULL,
  request_id {text} NOT NULL,
  details {text} NOT NULL,
  PRIMARY KEY (tenant, id)
) {strict};
CREATE INDEX extension_audit_log_batch ON extension_audit_log (tenant, batch);

CREATE TABLE extension_audit_checkpoint (
  tenant {key} NOT NULL,
  batch {int} NOT NULL,
  events {int} NOT NULL,
  previous {text} NOT NULL,
  chain {text} NOT NULL,
  kid {key} NOT NULL,
  signature {blob} NOT NULL,
  sealed_at {int} NOT NULL,
  PRIMARY KEY (tenant, batch)
) {strict};

CREATE TABLE extension_quota_usage (
  tenant {key} NOT NULL,
  install_id {key} NOT NULL,
  window_start {int} NOT NULL,
  invocations {int} NOT NULL,
  cpu_us {int} NOT NULL,
  memory_mb_ms {int} NOT NULL,
  egress_bytes {int} NOT NULL,
  PRIMARY KEY (tenant, install_id, window_start)
) {strict};

CREATE TABLE idempotency_records (
  tenant {key} NOT NULL,
  install_id {key} NOT NULL,
  scope {key} NOT NULL,
  request_digest {text} NOT NULL,
  state {text} NOT NULL CHECK (state IN ('running', 'done')),
  response {blob},
  expires_at {int} NOT NULL,
  PRIMARY KEY (tenant, install_id, scope)
) {strict};
CREATE INDEX idempotency_records_age ON idempotency_records (expires_at);
)sql";

// Runners of other processes deliver at least once; the name of a delivery makes that exactly once.
const std::string_view kDeliveryColumns = R"sql(
ALTER TABLE extension_guest_log ADD COLUMN delivery_id {key};
CREATE UNIQUE INDEX extension_guest_log_delivery ON extension_guest_log (tenant, delivery_id);
ALTER TABLE extension_audit_log ADD COLUMN delivery_id {key};
CREATE UNIQUE INDEX extension_audit_log_delivery ON extension_audit_log (tenant, delivery_id);
)sql";

// What is kept of answers has a budget in each tenant. It is counted in sixteenths (by the first
// digit of a record's hashed scope), so that requests of one tenant do not wait for one row.
const std::string_view kIdempotencyUsage = R"sql(
ALTER TABLE idempotency_records ADD COLUMN shard {key} NOT NULL DEFAULT '';
ALTER TABLE idempotency_records ADD COLUMN bytes {int} NOT NULL DEFAULT 0;
UPDATE idempotency_records SET shard = substr(scope, 1, 1), bytes = length(response)
  WHERE state = 'done' AND response IS NOT NULL;
CREATE INDEX idempotency_records_kept ON idempotency_records (tenant, shard, expires_at)
  WHERE state = 'done';
CREATE TABLE idempotency_usage (
  tenant {key} NOT NULL,
  shard {key} NOT NULL,
  answers {int} NOT NULL,
  bytes {int} NOT NULL,
  PRIMARY KEY (tenant, shard)
) {strict};
INSERT INTO idempotency_usage (tenant, shard, answers, bytes)
  SELECT tenant, shard, count(*), CAST(sum(bytes) AS BIGINT) FROM idempotency_records
  WHERE state = 'done' AND response IS NOT NULL GROUP BY tenant, shard;
)sql";

}  // namespace alga::control_plane::schema
