#pragma once

#include <cstdint>
#include <string>
#include <string_view>
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

/// The newest sealed batch of a tenant's trail. A copy that is kept elsewhere shows whether the end
/// was cut off since: nothing within the database can.
struct AuditHead {
  std::string tenant;
  std::uint64_t batch = 0;
  std::string chain;
};

struct AuditVerification {
  std::uint64_t batches = 0;
  std::uint64_t events = 0;
  std::uint64_t unsealed = 0;  ///< events that wait for their batch
  /// One line for each thing that is not as it was written; empty when the trail is intact.
  std::vector<std::string> faults;
  std::vector<AuditHead> heads;  ///< of each tenant that has one
};

/// How a trail is verified.
struct AuditCheck {
  SteadyTime deadline = SteadyTime::max();
  std::vector<AuditHead> expected;  ///< that were its heads once: it must still lead through them
};

/// Recomputes the chain of `tenant`, or of every tenant when empty, and checks every signature.
/// Batch by batch, lending a connection for each. Error when the deadline comes first:
/// `audit.verification_too_long`.
[[nodiscard]] Result<AuditVerification> verify_audit(sql::Database& database,
                                                     const std::string& tenant,
                                                     const AuditCheck& check = {});

/// Reads `TENANT:BATCH:CHAIN`, several with commas between them. Error: `request.invalid`.
[[nodiscard]] Result<std::vector<AuditHead>> parse_audit_heads(std::string_view text);

struct KeyRotation {
  std::string new_key_id;
  std::uint64_t rewrapped = 0;
};

/// Makes a new wrapping key and wraps every data key and signing key again. Ciphertext stays as it
/// is. Safe to repeat after an interruption.
Result<KeyRotation> rotate_keys(sql::Database& database, domain::KeyProvider& keys);

}  // namespace alga::control_plane
