#pragma once

#include <string>

#include "base/clock.h"
#include "base/log.h"
#include "base/result.h"
#include "config/config.h"
#include "domain/ports/bundle_store.h"
#include "sql/database.h"
#include "vault/vault_client.h"
#include "vault/vault_engines.h"

namespace alga::app {

/// Looks at every file that a setting under `[tls]`, and `egress.authorities`, names, before
/// anything is opened or made. Error: `tls.bad_files`, with the setting in front. A certificate
/// that has ended (or not begun) stops nothing, since it can be replaced while the server runs: it
/// is reported to `log` with the code `tls.certificate_expired` (or `tls.certificate_early`).
[[nodiscard]] Status check_files(const config::Config& config, WallTime now, const Logger& log);

/// What a process depends on beside its own folder; null where it has no use for it.
struct Surroundings {
  domain::BundleStore* store = nullptr;
  sql::Database* database = nullptr;
  vault::VaultClient* vault = nullptr;
  vault::VaultTransit* transit = nullptr;  ///< with the keys below, where this process encrypts
  std::string transit_mount;
  std::string envelope_key;  ///< transit key of envelopes; empty: not used
  std::string wrapping_key;  ///< transit key that wraps data keys; empty: not used
};

/// Asks each of them once and reports to `log` what does not answer, with the error's code and what
/// to do; nothing is refused, because all of it may come back while the server runs. Compares the
/// clock with the database server's: `clock.skewed` above five seconds, the most that grants
/// tolerate. Blocks for as long as their time-outs; for the blocking pool.
void check_surroundings(const Surroundings& around, const Clock& clock, const Logger& log);

}  // namespace alga::app
