#include "app/start_checks.h"

#include <array>
#include <chrono>
#include <cmath>
#include <string_view>

#include "app/complaint.h"
#include "base/bytes.h"
#include "tls/pem_files.h"

namespace alga::app {
namespace {

/// What grants tolerate between two hosts.
constexpr std::chrono::seconds tolerated_skew{5};

std::unexpected<Error> with_setting(std::string_view setting, Error error) {
  error.message = std::string(setting) + ": " + error.message;
  return fail(std::move(error));
}

Status check_pair(const config::Config& config, const std::string& prefix, WallTime now,
                  const Logger& log) {
  const std::string setting = prefix + "certificate";
  const std::string& certificate = config.text(setting);
  if (certificate.empty()) return {};
  auto validity = tls::check_identity(certificate, config.text(prefix + "key"));
  if (!validity) return with_setting(setting, std::move(validity).error());
  if (validity->until < now) {
    log.error("a certificate has ended; whoever checks it refuses this server",
              {{"code", "tls.certificate_expired"},
               {"setting", setting},
               {"file", certificate},
               {"ended", format_rfc3339(validity->until)},
               {"what_to_do", "replace the files; they are read again when they change"}});
  } else if (validity->from > now) {
    log.error("a certificate does not hold yet",
              {{"code", "tls.certificate_early"},
               {"setting", setting},
               {"file", certificate},
               {"begins", format_rfc3339(validity->from)},
               {"what_to_do", "check the clock of this machine (timedatectl)"}});
  }
  return {};
}

void report(const Logger& log, std::string_view what, const Status& status) {
  if (status) return;
  log.error(what, {{"code", status.error().code},
                   {"error", status.error().message},
                   {"what_to_do", advice_for(status.error().code)}});
}

Status encrypts(vault::VaultTransit& transit, const std::string& mount, const std::string& key) {
  TRY_VOID(transit.encrypt(mount, key, as_bytes(std::string_view{"start"}), {}));
  return {};
}

/// Seconds since 1970 on the database server's clock.
Result<double> time_of(sql::Database& database) {
  return database.read([](sql::Executor& sql) -> Result<double> {
    TRY(const auto row,
        sql.find("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)"));
    return row ? static_cast<double>(row->at<std::int64_t>(0)) / 1000.0 : 0.0;
  });
}

void compare_clocks(sql::Database& database, const Clock& clock, const Logger& log) {
  if (database.dialect() != sql::Dialect::postgres) return;
  const auto theirs = time_of(database);
  if (!theirs) return;  // reported already by whoever needed it
  const double ours = std::chrono::duration<double>(clock.wall().time_since_epoch()).count();
  const double ahead = ours - *theirs;
  if (std::abs(ahead) <= static_cast<double>(tolerated_skew.count())) return;
  log.error(
      "the clocks of this machine and of the database differ: grants and secrets would be refused",
      {{"code", "clock.skewed"},
       {"seconds_ahead", ahead},
       {"what_to_do", "correct the one that is wrong (timedatectl)"}});
}

}  // namespace

Status check_files(const config::Config& config, WallTime now, const Logger& log) {
  for (const char* prefix : {"tls.", "tls.internal_", "tls.client_"}) {
    TRY_VOID(check_pair(config, prefix, now, log));
  }
  for (const char* setting :
       {"tls.client_ca", "tls.internal_client_ca", "tls.ca", "egress.authorities"}) {
    const std::string& file = config.text(setting);
    if (file.empty()) continue;
    if (Status there = tls::check_authorities(file); !there) {
      return with_setting(setting, std::move(there).error());
    }
  }
  return {};
}

void check_surroundings(const Surroundings& around, const Clock& clock, const Logger& log) {
  if (around.database != nullptr) compare_clocks(*around.database, clock, log);
  if (around.store != nullptr) {
    report(log, "the bundle store cannot be used", around.store->probe());
  }
  if (around.vault == nullptr) return;
  auto token = around.vault->call("GET", "auth/token/lookup-self");
  if (!token) {
    report(log, "Vault cannot be used", fail(std::move(token).error()));
    return;  // the rest would say the same again
  }
  if (around.transit == nullptr) return;
  for (const std::string* key : {&around.envelope_key, &around.wrapping_key}) {
    if (key->empty()) continue;
    report(log, "Vault does not encrypt with the transit key " + *key,
           encrypts(*around.transit, around.transit_mount, *key));
  }
}

}  // namespace alga::app
