// migrate, audit verify, keys … and version: what is done on the database itself, whether or
// not a server runs on it.

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <system_error>

#include "app/commands.h"
#include "app/complaint.h"
#include "app/ground.h"
#include "app/settings.h"
#include "app/world_parts.h"
#include "control_plane/operations.h"
#include "sql/migrate.h"

namespace alga::app {

/// The parts that these commands need, without a listener, an engine or housekeeping.
class Workbench {
 public:
  explicit Workbench(const config::Config& config) : parts_(config) {}
  Status open_database() {
    TRY_VOID(parts_.build_ground());
    return parts_.build_database();
  }
  Status open_keys() { return parts_.build_secrets(); }
  /// Application secrets without a database.
  Status open_secrets() {
    TRY_VOID(parts_.build_ground());
    return parts_.build_secrets();
  }
  [[nodiscard]] domain::SecretProvider& secrets() { return *parts_.secrets; }
  [[nodiscard]] sql::Database& database() { return *parts_.database; }
  [[nodiscard]] domain::KeyProvider& keys() { return *parts_.keys; }
  [[nodiscard]] const Clock& clock() const { return *parts_.clock; }

 private:
  World::Parts parts_;
};

namespace {

using boost::json::object;

void print(const object& report, bool as_json, const std::string& text) {
  std::string line = as_json ? boost::json::serialize(report) : text;
  std::printf("%s\n", line.c_str());
}

/// A command that only looks, or changes what is there, makes no new database: a folder that was
/// misspelt would get one.
Status check_database_file(const config::Config& config) {
  const std::string& data = config.text("server.data_dir");
  if (!config.text("database.url").empty() || data.empty()) return {};
  const std::filesystem::path file = std::filesystem::path(data) / "alga.db";
  std::error_code failed;
  if (std::filesystem::exists(file, failed) || failed) return {};
  return fail(Kind::invalid, "sql.schema_too_old",
              file.string() + " is not there: no control plane has run with this folder");
}

Status check_schema(sql::Database& database) {
  TRY(const std::uint32_t there, sql::schema_version(database));
  const std::uint32_t known = control_plane::newest_schema();
  if (there == known) return {};
  return fail(Kind::unavailable, there < known ? "sql.schema_too_old" : "sql.schema_too_new",
              "the database has schema " + std::to_string(there) + ", this program works with " +
                  std::to_string(known));
}

/// Loads the configuration, opens the database and does `work` on it.
int on_database(const std::string& config_file, const Flags& flags,
                const std::function<int(Workbench&)>& work) {
  std::optional<config::Config> config = load_config(config_file, flags);
  if (!config) return 2;
  Workbench bench(*config);
  if (Status opened = bench.open_database(); !opened) return complain(opened.error());
  return work(bench);
}

/// As on_database, on one that servers have used.
int on_used_database(const std::string& config_file, const Flags& flags,
                     const std::function<int(Workbench&)>& work) {
  std::optional<config::Config> config = load_config(config_file, flags);
  if (!config) return 2;
  if (Status there = check_database_file(*config); !there) return complain(there.error());
  Workbench bench(*config);
  Status opened = bench.open_database();
  if (opened) opened = check_schema(bench.database());
  if (!opened) return complain(opened.error());
  return work(bench);
}

}  // namespace

int migrate(const std::string& config_file, const Flags& flags, bool as_json) {
  return on_database(config_file, flags, [&](Workbench& bench) {
    auto report = control_plane::migrate_schema(bench.database(), bench.clock());
    if (!report) return complain(report.error());
    std::string text = report->before == report->after
                           ? "the schema is at " + std::to_string(report->after) + " already"
                           : "migrated the schema from " + std::to_string(report->before) + " to " +
                                 std::to_string(report->after);
    print({{"before", report->before}, {"after", report->after}}, as_json, text);
    return 0;
  });
}

int verify_audit(const std::string& config_file, const Flags& flags, const std::string& tenant,
                 const std::string& expect, bool as_json) {
  auto expected = control_plane::parse_audit_heads(expect);
  if (!expected) return complain(expected.error());
  return on_used_database(config_file, flags, [&](Workbench& bench) {
    auto report =
        control_plane::verify_audit(bench.database(), tenant, {.expected = std::move(*expected)});
    if (!report) return complain(report.error());
    bool intact = report->faults.empty();
    std::string text = std::to_string(report->events) + " events in " +
                       std::to_string(report->batches) + " batches, " +
                       std::to_string(report->unsealed) +
                       " wait for theirs: " + (intact ? "intact" : "NOT intact");
    boost::json::array faults;
    for (const std::string& fault : report->faults) {
      faults.emplace_back(fault);
      text += "\n" + fault;
    }
    boost::json::array heads;
    for (const control_plane::AuditHead& head : report->heads) {
      heads.push_back(
          object{{"tenant", head.tenant}, {"batch", head.batch}, {"chain", head.chain}});
      text += "\nhead " + head.tenant + ":" + std::to_string(head.batch) + ":" + head.chain;
    }
    print({{"intact", intact},
           {"batches", report->batches},
           {"events", report->events},
           {"unsealed", report->unsealed},
           {"heads", std::move(heads)},
           {"faults", std::move(faults)}},
          as_json, text);
    return intact ? 0 : 1;
  });
}

int rotate_keys(const std::string& config_file, const Flags& flags, bool as_json) {
  return on_used_database(config_file, flags, [&](Workbench& bench) {
    if (Status opened = bench.open_keys(); !opened) return complain(opened.error());
    auto done = control_plane::rotate_keys(bench.database(), bench.keys());
    if (!done) return complain(done.error());
    print({{"new_key_id", done->new_key_id}, {"rewrapped", done->rewrapped}}, as_json,
          "new wrapping key " + done->new_key_id + ", " + std::to_string(done->rewrapped) +
              " keys wrapped again");
    return 0;
  });
}

namespace {

struct KeyReport {
  object json;
  std::string text;
};

Result<KeyReport> perform(domain::SecretProvider& secrets, EnvelopeKeyStep step,
                          const std::string& id) {
  constexpr std::string_view ring = vault::envelope_keys_secret;
  switch (step) {
    case EnvelopeKeyStep::rotate: {
      TRY(const vault::KeyRing changed, vault::rotate_key_ring(secrets, ring));
      return KeyReport{{{"current_key_id", changed.current}},
                       "new envelope key " + changed.current};
    }
    case EnvelopeKeyStep::prepare: {
      TRY(const std::string prepared, vault::prepare_key_of_ring(secrets, ring));
      return KeyReport{
          {{"prepared_key_id", prepared}},
          "prepared envelope key " + prepared + "; bring the ring to every runner, then --use it"};
    }
    case EnvelopeKeyStep::use: {
      TRY_VOID(vault::use_key_of_ring(secrets, ring, id));
      return KeyReport{{{"current_key_id", id}}, "envelopes are sealed with " + id};
    }
    case EnvelopeKeyStep::retire: {
      TRY(const std::size_t retired, vault::retire_keys_of_ring(secrets, ring));
      return KeyReport{{{"retired", retired}},
                       std::to_string(retired) + " older envelope keys taken out"};
    }
  }
  return fail(Kind::internal, "internal.unexpected", "no such step");
}

}  // namespace

int change_envelope_keys(const std::string& config_file, const Flags& flags, EnvelopeKeyStep step,
                         const std::string& id, bool as_json) {
  std::optional<config::Config> config = load_config(config_file, flags);
  if (!config) return 2;
  Workbench bench(*config);
  if (Status opened = bench.open_secrets(); !opened) return complain(opened.error());
  auto report = perform(bench.secrets(), step, id);
  if (!report) return complain(report.error());
  print(report->json, as_json, report->text);
  return 0;
}

namespace {

Result<KeyReport> tell_artefact_key(domain::SecretProvider& secrets) {
  TRY(const auto current, load_or_make_signing_key(secrets, artefact_key_secret));
  TRY(const auto prepared,
      prepared_signing_key(secrets, artefact_key_secret, next_artefact_key_secret));
  const std::string key = current->public_key().base64();
  KeyReport report{{{"artefact_key", key}}, key};
  if (prepared) report.json["prepared_artefact_key"] = prepared->base64();
  return report;
}

Result<KeyReport> perform(domain::SecretProvider& secrets, ArtefactKeyStep step,
                          const std::string& wanted) {
  switch (step) {
    case ArtefactKeyStep::tell: return tell_artefact_key(secrets);
    case ArtefactKeyStep::rotate: {
      TRY(const crypto::PublicKey made, replace_signing_key(secrets, artefact_key_secret));
      return KeyReport{{{"artefact_key", made.base64()}},
                       "new key of compiled code " + made.base64() +
                           "; add it to engine.artefact_keys of the runners and start them again, "
                           "then the control planes"};
    }
    case ArtefactKeyStep::prepare: {
      TRY(const crypto::PublicKey made,
          prepare_signing_key(secrets, artefact_key_secret, next_artefact_key_secret));
      return KeyReport{{{"prepared_artefact_key", made.base64()}},
                       "prepared key of compiled code " + made.base64() +
                           "; add it to engine.artefact_keys of the runners and start them again, "
                           "then --use it"};
    }
    case ArtefactKeyStep::use: {
      TRY_VOID(use_signing_key(secrets, artefact_key_secret, next_artefact_key_secret, wanted));
      return KeyReport{
          {{"artefact_key", wanted}},
          "key of compiled code " + wanted + "; control planes sign with it from their next start"};
    }
  }
  return fail(Kind::internal, "internal.unexpected", "no such step");
}

}  // namespace

int change_artefact_key(const std::string& config_file, const Flags& flags, ArtefactKeyStep step,
                        const std::string& key, bool as_json) {
  std::optional<config::Config> config = load_config(config_file, flags);
  if (!config) return 2;
  Workbench bench(*config);
  if (Status opened = bench.open_secrets(); !opened) return complain(opened.error());
  auto report = perform(bench.secrets(), step, key);
  if (!report) return complain(report.error());
  print(report->json, as_json, report->text);
  return 0;
}

std::string program_version() { return ALGA_VERSION; }

int version(bool as_json) {
  std::uint32_t schema = control_plane::newest_schema();
  print({{"version", ALGA_VERSION}, {"schema", schema}}, as_json,
        "algad " ALGA_VERSION ", schema " + std::to_string(schema));
  return 0;
}

}  // namespace alga::app
