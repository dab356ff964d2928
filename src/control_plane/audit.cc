#include "control_plane/audit.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <charconv>

#include "base/bytes.h"
#include "crypto/digest.h"

namespace alga::control_plane {
namespace {

constexpr std::size_t kEventsPerBatch = 5'000;
constexpr std::size_t kCheckpointsAtOnce = 1'000;

/// Hash of a batch: every field of every event, each with its length in front, so that no two
/// different batches have the same input.
class BatchHash {
 public:
  BatchHash(std::string_view tenant, std::uint64_t batch, std::string_view previous) {
    add("alga-audit:v1");
    add(tenant);
    add(std::to_string(batch));
    add(previous);
  }
  void add(std::string_view field) {
    hash_.update(std::to_string(field.size()));
    hash_.update(":");
    hash_.update(field);
  }
  void add_event(const sql::Row& row) {
    auto [id, at, actor, action, target, request, details] =
        row.as<std::string, std::int64_t, std::string, std::string, std::string, std::string,
               std::string>();
    for (const auto& field : {id, std::to_string(at), actor, action, target, request, details}) {
      add(field);
    }
    ++events_;
  }
  [[nodiscard]] std::uint64_t events() const { return events_; }
  [[nodiscard]] std::string finish() {
    add(std::to_string(events_));
    return hash_.finish_hex();
  }

 private:
  crypto::Sha256 hash_;
  std::uint64_t events_ = 0;
};

constexpr std::string_view kEventColumns = "id, at, actor, action, target, request_id, details";

struct Checkpoint {
  std::uint64_t batch = 0;
  std::string chain;
};

Result<Checkpoint> last_checkpoint(sql::Executor& sql, const std::string& tenant) {
  TRY(auto row, sql.find("SELECT batch, chain FROM extension_audit_checkpoint WHERE tenant = $1 "
                         "ORDER BY batch DESC LIMIT 1",
                         {tenant}));
  if (!row) return Checkpoint{};
  auto [batch, chain] = row->as<std::uint64_t, std::string>();
  return Checkpoint{batch, chain};
}

std::string signed_text(std::string_view tenant, std::uint64_t batch, std::string_view chain) {
  return fmt::format("alga-audit-checkpoint:v1\n{}\n{}\n{}", tenant, batch, chain);
}

/// Each statement has ten minutes, all together have until `deadline`.
Result<sql::Rows> read_until(sql::Database& database, SteadyTime deadline, std::string_view text,
                             const std::vector<sql::Value>& params) {
  const auto late = [deadline] { return std::chrono::steady_clock::now() >= deadline; };
  if (!late()) {
    auto rows = database.read([&](sql::Executor& sql) { return sql.query(text, params); },
                              std::min(deadline, sql::within(std::chrono::minutes{10})));
    if (rows || !late()) return rows;
  }
  return fail(Kind::timeout, "audit.verification_too_long",
              "the audit trail is too long to be verified over the API; algad audit verify takes "
              "the time that it needs");
}

/// Walks one tenant's chain from its beginning.
class ChainVerifier {
 public:
  ChainVerifier(sql::Database& database, std::string tenant, const AuditCheck& check,
                AuditVerification& report)
      : database_(database), tenant_(std::move(tenant)), check_(check), report_(report) {}

  Status run() {
    while (true) {
      TRY(sql::Rows checkpoints,
          read("SELECT c.batch, c.events, c.previous, c.chain, c.signature, k.public_key FROM "
               "extension_audit_checkpoint c LEFT JOIN signing_keys k ON k.purpose = 'audit' AND "
               "k.kid = c.kid WHERE c.tenant = $1 AND c.batch >= $2 ORDER BY c.batch LIMIT $3",
               {tenant_, expected_batch_, kCheckpointsAtOnce}));
      for (const sql::Row& checkpoint : checkpoints) TRY_VOID(verify(checkpoint));
      if (checkpoints.size() < kCheckpointsAtOnce) break;
    }
    for (const AuditHead& head : check_.expected) {
      if (head.tenant == tenant_ && head.batch >= expected_batch_) {
        fault(head.batch, "it was there once and is not any more");
      }
    }
    if (expected_batch_ > 1) report_.heads.push_back({tenant_, expected_batch_ - 1, chain_});
    return count_strays();
  }

 private:
  Status verify(const sql::Row& row) {
    auto [batch, events, previous, chain, signature, key] =
        row.as<std::uint64_t, std::uint64_t, std::string, std::string, sql::Blob,
               std::optional<sql::Blob>>();
    ++report_.batches;
    if (batch != expected_batch_) fault(batch, "a batch before it is missing");
    if (previous != chain_) fault(batch, "it does not continue the batch before it");
    TRY(std::uint64_t found, check_events(batch, previous, chain));
    if (found != events) fault(batch, fmt::format("{} events, {} were sealed", found, events));
    auto public_key = key ? crypto::PublicKey::from_bytes(as_bytes(key->bytes)) : std::nullopt;
    if (!public_key || !public_key->verify(as_bytes(signed_text(tenant_, batch, chain)),
                                           as_bytes(signature.bytes))) {
      fault(batch, "the signature of its checkpoint is not good");
    }
    for (const AuditHead& head : check_.expected) {
      if (head.tenant == tenant_ && head.batch == batch && head.chain != chain) {
        fault(batch, "it is another one than it was once");
      }
    }
    chain_ = chain;
    expected_batch_ = batch + 1;
    return {};
  }

  Result<std::uint64_t> check_events(std::uint64_t batch, const std::string& previous,
                                     const std::string& chain) {
    TRY(sql::Rows events,
        read(fmt::format("SELECT {} FROM extension_audit_log WHERE tenant = $1 AND batch = $2 "
                         "ORDER BY id",
                         kEventColumns),
             {tenant_, batch}));
    BatchHash hash(tenant_, batch, previous);
    for (const sql::Row& event : events) hash.add_event(event);
    report_.events += events.size();
    if (hash.finish() != chain) fault(batch, "its events are not the ones that were sealed");
    return events.size();
  }

  Status count_strays() {
    TRY(sql::Rows rows,
        read("SELECT coalesce(a.batch, 0), count(*) FROM extension_audit_log a "
             "WHERE a.tenant = $1 AND NOT EXISTS (SELECT 1 FROM extension_audit_checkpoint c "
             "WHERE c.tenant = a.tenant AND c.batch = a.batch) GROUP BY 1 ORDER BY 1",
             {tenant_}));
    for (const sql::Row& row : rows) {
      auto [batch, events] = row.as<std::uint64_t, std::uint64_t>();
      if (batch == 0) {
        report_.unsealed += events;
      } else {
        fault(batch, "its checkpoint is missing");
      }
    }
    return {};
  }

  void fault(std::uint64_t batch, std::string_view what) {
    report_.faults.push_back(fmt::format("tenant {}, batch {}: {}", tenant_, batch, what));
  }

  Result<sql::Rows> read(std::string_view text, const std::vector<sql::Value>& params) {
    return read_until(database_, check_.deadline, text, params);
  }

  sql::Database& database_;
  std::string tenant_;
  const AuditCheck& check_;
  AuditVerification& report_;
  std::string chain_;
  std::uint64_t expected_batch_ = 1;
};

}  // namespace

Status append_audit(sql::Executor& sql, const Core& core, const Caller& caller, AuditEvent event) {
  TRY_VOID(sql.execute(
      "INSERT INTO extension_audit_log (tenant, id, at, actor, action, target, "
      "request_id, details) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
      {event.tenant, core.new_ordered_id(), core.now(), caller.principal.id, event.action,
       event.target, caller.request_id, boost::json::serialize(event.details)}));
  return {};
}

Result<std::vector<boost::json::object>> list_audit(const Core& core, const std::string& tenant,
                                                    std::uint32_t limit,
                                                    const std::string& before) {
  return core.db().read([&](sql::Executor& sql) -> Result<std::vector<boost::json::object>> {
    TRY(sql::Rows rows,
        sql.query("SELECT id, at, actor, action, target, request_id, details, batch FROM "
                  "extension_audit_log WHERE tenant = $1 AND ($2 = '' OR id < $2) ORDER BY id DESC "
                  "LIMIT $3",
                  {tenant, before, limit}));
    std::vector<boost::json::object> events;
    for (const sql::Row& row : rows) {
      auto [id, at, actor, action, target, request, details, batch] =
          row.as<std::string, WallTime, std::string, std::string, std::string, std::string,
                 std::string, std::optional<std::int64_t>>();
      TRY(boost::json::value said, from_column(details, "details"));
      boost::json::object event{{"id", id},
                                {"at", format_rfc3339(at)},
                                {"tenant", tenant},
                                {"actor", actor},
                                {"action", action},
                                {"target", target},
                                {"request_id", request},
                                {"details", std::move(said)}};
      event["batch"] = batch ? boost::json::value(*batch) : boost::json::value(nullptr);
      events.push_back(std::move(event));
    }
    return events;
  });
}

Result<std::uint64_t> AuditSealer::seal() {
  TRY(sql::Rows tenants, core_.db().read([](sql::Executor& sql) {
    return sql.query("SELECT DISTINCT tenant FROM extension_audit_log WHERE batch IS NULL");
  }));
  std::uint64_t sealed = 0;
  for (const sql::Row& row : tenants) {
    TRY(std::uint64_t events, seal_tenant(row.at<std::string>(0)));
    sealed += events;
  }
  return sealed;
}

Result<std::uint64_t> AuditSealer::seal_tenant(const std::string& tenant) {
  return core_.db().write([&](sql::Executor& sql) -> Result<std::uint64_t> {
    TRY(Checkpoint last, last_checkpoint(sql, tenant));
    TRY(sql::Rows events,
        sql.query(fmt::format("SELECT {} FROM extension_audit_log WHERE tenant = $1 AND batch IS "
                              "NULL ORDER BY id LIMIT $2",
                              kEventColumns),
                  {tenant, kEventsPerBatch}));
    if (events.empty()) return 0;
    std::uint64_t batch = last.batch + 1;
    BatchHash hash(tenant, batch, last.chain);
    for (const sql::Row& event : events) hash.add_event(event);
    std::string last_id = events.back().at<std::string>(0);
    TRY_VOID(
        sql.execute("UPDATE extension_audit_log SET batch = $1 WHERE tenant = $2 AND batch IS "
                    "NULL AND id <= $3",
                    {batch, tenant, last_id}));
    std::uint64_t count = hash.events();
    std::string chain = hash.finish();
    auto made = keys_.sign(KeyPurpose::audit, as_bytes(signed_text(tenant, batch, chain)));
    TRY_VOID(sql.execute(
        "INSERT INTO extension_audit_checkpoint (tenant, batch, events, previous, chain, kid, "
        "signature, sealed_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        {tenant, batch, count, last.chain, chain, made.kid,
         sql::Blob{std::string(as_text(made.signature))}, core_.now()}));
    // The same line in the process log lets an auditor notice a trail that was cut at its end.
    core_.log().info("audit batch sealed",
                     {{"tenant", tenant}, {"batch", batch}, {"events", count}, {"chain", chain}});
    return count;
  });
}

Result<AuditVerification> verify_audit(sql::Database& database, const std::string& tenant,
                                       const AuditCheck& check) {
  for (const AuditHead& head : check.expected) {
    if (!tenant.empty() && head.tenant != tenant) {
      return invalid("the head of another tenant than the one that is verified is expected");
    }
  }
  std::vector<std::string> tenants{tenant};
  if (tenant.empty()) {
    TRY(sql::Rows rows,
        read_until(database, check.deadline,
                   "SELECT DISTINCT tenant FROM extension_audit_log UNION SELECT DISTINCT tenant "
                   "FROM extension_audit_checkpoint ORDER BY 1",
                   {}));
    tenants.clear();
    for (const sql::Row& row : rows) tenants.push_back(row.at<std::string>(0));
    // A trail of which nothing is left is looked for, too.
    for (const AuditHead& head : check.expected) {
      if (std::ranges::find(tenants, head.tenant) == tenants.end()) tenants.push_back(head.tenant);
    }
  }
  AuditVerification report;
  for (const std::string& name : tenants) {
    TRY_VOID(ChainVerifier(database, name, check, report).run());
  }
  return report;
}

Result<std::vector<AuditHead>> parse_audit_heads(std::string_view text) {
  std::vector<AuditHead> heads;
  while (!text.empty()) {
    const std::string_view item = text.substr(0, text.find(','));
    text.remove_prefix(std::min(item.size() + 1, text.size()));
    const std::size_t first = item.find(':');
    const std::size_t second = first == std::string_view::npos ? first : item.find(':', first + 1);
    if (second == std::string_view::npos) return invalid("a head is TENANT:BATCH:CHAIN");
    AuditHead head{.tenant = std::string(item.substr(0, first)),
                   .chain = std::string(item.substr(second + 1))};
    const char* end = item.data() + second;
    const auto [stop, code] = std::from_chars(item.data() + first + 1, end, head.batch);
    if (code != std::errc{} || stop != end || head.batch == 0 || head.tenant.empty() ||
        head.chain.empty()) {
      return invalid("a head is TENANT:BATCH:CHAIN");
    }
    heads.push_back(std::move(head));
  }
  return heads;
}

}  // namespace alga::control_plane
