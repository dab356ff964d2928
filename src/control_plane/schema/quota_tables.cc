#include "control_plane/schema/tables.h"

namespace alga::control_plane::schema {

// A limit of NULL is the server's default, -1 is none.
const std::string_view kQuotaTables = R"sql(
CREATE TABLE tenant_quota (
  tenant {key} NOT NULL PRIMARY KEY REFERENCES tenants (id),
  invocations {int},
  cpu_ms {int},
  memory_mb_s {int},
  egress_bytes {int},
  updated_at {int} NOT NULL
) {strict};

CREATE TABLE tenant_quota_usage (
  tenant {key} NOT NULL,
  period {key} NOT NULL,
  window_start {int} NOT NULL,
  invocations {int} NOT NULL,
  cpu_us {int} NOT NULL,
  memory_mb_ms {int} NOT NULL,
  egress_bytes {int} NOT NULL,
  PRIMARY KEY (tenant, period, window_start)
) {strict};
CREATE INDEX tenant_quota_usage_age ON tenant_quota_usage (window_start);
CREATE INDEX extension_quota_usage_age ON extension_quota_usage (window_start);
)sql";

}  // namespace alga::control_plane::schema
