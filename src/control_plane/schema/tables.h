#pragma once

#include <string_view>

namespace alga::control_plane::schema {

extern const std::string_view kRegistryTables;
extern const std::string_view kAccessTables;
extern const std::string_view kInstallTables;
extern const std::string_view kStorageTables;
extern const std::string_view kRecordTables;
extern const std::string_view kDeliveryColumns;
extern const std::string_view kQuotaTables;
extern const std::string_view kBrokerTables;
extern const std::string_view kLeaseTables;
extern const std::string_view kNoPrincipals;
extern const std::string_view kIdempotencyUsage;
extern const std::string_view kArtefactTables;
extern const std::string_view kInstallCpuTime;

}  // namespace alga::control_plane::schema
