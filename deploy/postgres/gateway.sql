-- What the database user of gateways may do, and nothing else: know principals, hold leases, put executions on record,
-- count quotas, claim idempotency keys. It reads no secret, wrapped key, configuration or stored value, and can make no
-- API key, grant or install. Run it as the owner of the tables, once after they were made and again after an upgrade
-- (gateways may run meanwhile):
--
--   psql --set ON_ERROR_STOP=1 --set gateway=alga_gateway --file gateway.sql DATABASE

BEGIN;

REVOKE ALL ON ALL TABLES IN SCHEMA public FROM :"gateway";

GRANT SELECT ON
  alga_migrations,
  api_keys,
  change_feed,
  publishers,
  tenant_quota,
  tenants
TO :"gateway";

GRANT SELECT, INSERT, UPDATE ON
  extension_execution_log,
  extension_quota_usage,
  idempotency_usage,
  tenant_quota_usage
TO :"gateway";

GRANT SELECT, INSERT, UPDATE, DELETE ON
  idempotency_records,
  lease_holders
TO :"gateway";

COMMIT;
