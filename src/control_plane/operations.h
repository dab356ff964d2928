#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "base/result.h"
#include "domain/ports/key_provider.h"
#include "sql/database.h"
#include "sql/migrate.h"

/// What `algad migrate`, `algad audit verify` and `algad keys rotate` do. Blocking; a server may be
/// running on the same database.
namespace alga::control_plane {

/// Brings the schema up to date.
Result<sql::MigrationReport> migrate_schema(sql::Database& database, const Clock& clock);

/// The version of the schema that this program needs.
[[nodiscard]] std::uint32_t newest_schema();

struct AuditVerification {
  std::uint64_t batches = 0;
  std::uint64_t events = 0;
  std::uint64_t unsealed = 0;  ///< events that wait for their batch
  /// One line for each thing that is not as it was written; empty when the trail is intact.
  std::vector<std::string> faults;
};

/// Recomputes the chain of `tenant`, or of every tenant when empty, and checks every signature.
[[nodiscard]] Result<AuditVerification> verify_audit(sql::Database& database,
                                                     const std::string& tenant);

struct KeyRotation {
  std::string new_key_id;
  std::uint64_t rewrapped = 0;
};

/// Makes a new wrapping key and wraps every data key and signing key again. Ciphertext stays as it
/// is. Safe to repeat after an interruption.
Result<KeyRotation> rotate_keys(sql::Database& database, domain::KeyProvider& keys);

}  // namespace alga::control_plane
