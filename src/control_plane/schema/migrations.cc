#include "control_plane/schema/migrations.h"

#include <array>

#include "control_plane/schema/tables.h"

namespace alga::control_plane::schema {

std::span<const sql::Migration> migrations() {
  static const std::array kSteps{
      sql::Migration{1, "registry", kRegistryTables},
      sql::Migration{2, "access", kAccessTables},
      sql::Migration{3, "installs", kInstallTables},
      sql::Migration{4, "storage", kStorageTables},
      sql::Migration{5, "records", kRecordTables},
      sql::Migration{6, "deliveries", kDeliveryColumns},
      sql::Migration{7, "quotas", kQuotaTables},
      sql::Migration{8, "broker", kBrokerTables},
      sql::Migration{9, "leases", kLeaseTables},
      sql::Migration{10, "no_principals", kNoPrincipals},
      sql::Migration{11, "idempotency_usage", kIdempotencyUsage},
      sql::Migration{12, "artefacts", kArtefactTables},
      sql::Migration{13, "install_cpu_time", kInstallCpuTime},
  };
  return kSteps;
}

}  // namespace alga::control_plane::schema
