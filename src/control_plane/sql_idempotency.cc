#include "control_plane/sql_idempotency.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "base/bytes.h"
#include "control_plane/some_rows.h"
#include "crypto/aead.h"
#include "crypto/digest.h"
#include "domain/limits.h"
#include "json/parse.h"

namespace alga::control_plane {
namespace {

constexpr std::size_t kLargestAnswer = 1U << 20U;
/// Parts of a tenant's budget; see schema/record_tables.cc.
constexpr std::uint64_t kShards = 16;
/// Of one transaction, and transactions of one sweep.
constexpr std::uint64_t kSweptAtOnce = 500, kSweeps = 40;

/// Caller, endpoint and key are text of any length; their digest is a key column.
std::string scope_key(const domain::IdempotencyScope& scope) {
  return crypto::sha256_hex(fmt::format("{}:{}:{}:{}:{}", scope.caller.size(), scope.caller,
                                        scope.endpoint.size(), scope.endpoint, scope.key));
}

/// Status and headers on one line, then the body as it is.
std::string encode(const domain::StoredAnswer& answer) {
  boost::json::array headers;
  for (const auto& header : answer.headers) {
    headers.push_back(boost::json::array{header.name, base64_encode(as_bytes(header.value))});
  }
  std::string head =
      to_text(boost::json::object{{"status", answer.status}, {"headers", std::move(headers)}});
  return std::move(head) + '\n' + answer.body;
}

constexpr std::string_view kColumn = "response";

/// The text of base64 in a member; none: it is not there, or something else.
std::optional<std::string> bytes_of(const boost::json::value* member) {
  const auto* text = member == nullptr ? nullptr : member->if_string();
  return text == nullptr ? std::nullopt : base64_decode(*text);
}

Result<domain::StoredAnswer> decode_head(const boost::json::object& head) {
  const boost::json::value* status = head.if_contains("status");
  const boost::json::value* headers = head.if_contains("headers");
  if (status == nullptr || headers == nullptr || !headers->is_array()) {
    return malformed_column(kColumn);
  }
  domain::StoredAnswer answer;
  boost::system::error_code error;
  answer.status = status->to_number<std::uint16_t>(error);
  if (error) return malformed_column(kColumn);
  for (const auto& header : headers->get_array()) {
    const auto* pair = header.if_array();
    if (pair == nullptr || pair->size() != 2 || !pair->front().is_string()) {
      return malformed_column(kColumn);
    }
    auto bytes = bytes_of(&pair->back());
    if (!bytes) return malformed_column(kColumn);
    answer.headers.push_back({std::string(pair->front().get_string()), std::move(*bytes)});
  }
  return answer;
}

Result<domain::StoredAnswer> decode(std::string_view text) {
  const std::size_t end = text.find('\n');
  TRY(const boost::json::object head, object_from_column(text.substr(0, end), kColumn));
  TRY(domain::StoredAnswer answer, decode_head(head));
  if (end != text.npos) answer.body = text.substr(end + 1);
  return answer;
}

/// The bytes open with the key of the install, and for this record alone.
std::string seal_context(const domain::IdempotencyScope& scope, std::string_view key) {
  return fmt::format("alga-idempotent-answer:v1\n{}\n{}\n{}", scope.tenant.str(),
                     scope.install.str(), key);
}

/// Who reads the database reads no answer: `{"key":"<id>","sealed":"<base64>"}`.
Result<std::string> sealed(const domain::AnswerKey& key, const std::string& context,
                           const std::string& text) {
  TRY(const crypto::AeadKey aead, crypto::AeadKey::from_bytes(as_bytes(key.bytes.reveal())));
  const std::string bytes = crypto::seal(aead, as_bytes(text), as_bytes(context));
  return to_text(boost::json::object{{"key", key.id}, {"sealed", base64_encode(as_bytes(bytes))}});
}

/// None when the key is gone, or the bytes are not what was stored here. What is nothing that is
/// ever stored here is an error: the request may have been answered, so it must not run again.
Result<std::optional<domain::StoredAnswer>> opened(const domain::AnswerKey* key,
                                                   const std::string& context,
                                                   std::string_view stored) {
  TRY(const boost::json::object record, object_from_column(stored, kColumn));
  if (!record.contains("sealed")) {  // an earlier version's, until it expires
    TRY(domain::StoredAnswer answer, decode_head(record));
    auto body = bytes_of(record.if_contains("body"));
    if (!body) return malformed_column(kColumn);
    answer.body = std::move(*body);
    return answer;
  }
  const boost::json::value* id = record.if_contains("key");
  const auto plain = bytes_of(record.if_contains("sealed"));
  if (id == nullptr || !id->is_string() || !plain) return malformed_column(kColumn);
  if (key == nullptr || id->get_string() != key->id) return std::nullopt;
  const auto aead = crypto::AeadKey::from_bytes(as_bytes(key->bytes.reveal()));
  if (!aead) return std::nullopt;
  const auto text = crypto::open(*aead, as_bytes(*plain), as_bytes(context));
  if (!text) return std::nullopt;
  TRY(domain::StoredAnswer answer, decode(text->reveal_text()));
  return answer;
}

std::string shard_of(std::string_view key) { return std::string(key.substr(0, 1)); }

Status add_to_usage(sql::Executor& sql, const std::string& tenant, const std::string& shard,
                    std::int64_t answers, std::int64_t bytes) {
  TRY_VOID(sql.execute(
      "INSERT INTO idempotency_usage (tenant, shard, answers, bytes) VALUES ($1, $2, $3, $4) ON "
      "CONFLICT (tenant, shard) DO UPDATE SET answers = idempotency_usage.answers + "
      "excluded.answers, bytes = idempotency_usage.bytes + excluded.bytes",
      {tenant, shard, answers, bytes}));
  return {};
}

Error unavailable() {
  return Error{Kind::unavailable, "idempotency.unavailable", "idempotency keys cannot be kept", 1};
}

/// Errors of the database become the port's.
template <class T>
Result<T> as_port(Result<T> outcome) {
  if (outcome) return outcome;
  return fail(unavailable());
}

}  // namespace

async::Task<Result<domain::IdempotencyClaim>> SqlIdempotencyStore::claim(
    domain::IdempotencyScope scope, std::string digest, std::chrono::milliseconds lease) {
  co_return co_await core_.deps().blocking->run(
      [this, &scope, &digest, lease] { return as_port(claim_blocking(scope, digest, lease)); });
}

Result<domain::IdempotencyClaim> SqlIdempotencyStore::claim_blocking(
    const domain::IdempotencyScope& scope, const std::string& digest,
    std::chrono::milliseconds lease) const {
  using Kind = domain::IdempotencyClaim::Kind;
  std::string key = scope_key(scope);
  return core_.db().write([&](sql::Executor& sql) -> Result<domain::IdempotencyClaim> {
    WallTime now = core_.now();
    TRY(auto row, sql.find("SELECT request_digest, state, response FROM idempotency_records WHERE "
                           "tenant = $1 AND install_id = $2 AND scope = $3 AND expires_at > $4",
                           {scope.tenant, scope.install, key, now}));
    if (row) {
      auto [known, state, response] = row->as<std::string, std::string, std::optional<sql::Blob>>();
      if (known != digest) return domain::IdempotencyClaim{Kind::mismatch, {}};
      if (state == "running" || !response) return domain::IdempotencyClaim{Kind::in_progress, {}};
      auto kept = opened(scope.answer_key.get(), seal_context(scope, key), response->bytes);
      if (!kept) {
        core_.log().error("a kept answer cannot be read; its request is refused until it expires",
                          {{"code", kept.error().code},
                           {"tenant", scope.tenant.str()},
                           {"install", scope.install.str()}});
        return fail(std::move(kept).error());
      }
      if (auto& answer = *kept) return domain::IdempotencyClaim{Kind::replay, std::move(*answer)};
      core_.log().warn("a kept answer cannot be opened and counts as not kept",
                       {{"code", "idempotency.unreadable"}, {"tenant", scope.tenant.str()}});
    }
    // An answer that expired and was not swept yet, or cannot be opened, stops being counted.
    TRY(auto expired,
        sql.find("DELETE FROM idempotency_records WHERE tenant = $1 AND install_id = $2 AND scope "
                 "= $3 AND state = 'done' RETURNING bytes",
                 {scope.tenant, scope.install, key}));
    if (expired) {
      TRY_VOID(
          add_to_usage(sql, scope.tenant.str(), shard_of(key), -1, -expired->at<std::int64_t>(0)));
    }
    TRY_VOID(sql.execute(
        "INSERT INTO idempotency_records (tenant, install_id, scope, request_digest, state, "
        "expires_at) VALUES ($1, $2, $3, $4, 'running', $5) ON CONFLICT (tenant, install_id, "
        "scope) "
        "DO UPDATE SET request_digest = excluded.request_digest, state = 'running', response = "
        "NULL, "
        "expires_at = excluded.expires_at",
        {scope.tenant, scope.install, key, digest, now + lease}));
    return domain::IdempotencyClaim{Kind::fresh, {}};
  });
}

async::Task<Status> SqlIdempotencyStore::complete(domain::IdempotencyScope scope,
                                                  std::string digest, domain::StoredAnswer answer) {
  if (answer.body.size() > kLargestAnswer || !scope.answer_key) {
    co_return co_await release(std::move(scope), std::move(digest));
  }
  co_return co_await core_.deps().blocking->run(
      [this, &scope, &digest, &answer] { return complete_blocking(scope, digest, answer); });
}

Status SqlIdempotencyStore::complete_blocking(const domain::IdempotencyScope& scope,
                                              const std::string& digest,
                                              const domain::StoredAnswer& answer) const {
  const std::string key = scope_key(scope);
  TRY(std::string stored, sealed(*scope.answer_key, seal_context(scope, key), encode(answer)));
  const sql::Blob text{std::move(stored)};
  const auto bytes = static_cast<std::int64_t>(text.bytes.size());
  auto made_room = core_.db().write([&](sql::Executor& sql) -> Result<std::uint64_t> {
    TRY(const std::uint64_t stored,
        sql.execute("UPDATE idempotency_records SET state = 'done', response = $1, expires_at = "
                    "$2, shard = $3, bytes = $4 WHERE tenant = $5 AND install_id = $6 AND scope = "
                    "$7 AND request_digest = $8 AND state = 'running'",
                    {text, core_.now() + core_.options().idempotency_life, shard_of(key), bytes,
                     scope.tenant, scope.install, key, digest}));
    if (stored == 0) return 0;
    TRY_VOID(add_to_usage(sql, scope.tenant.str(), shard_of(key), 1, bytes));
    return keep_within_budget(sql, scope.tenant.str(), shard_of(key));
  });
  if (!made_room) return fail(unavailable());
  if (*made_room > 0) {
    core_.deps()
        .metrics
        ->counter(domain::limit_hits_metric, "Limits that stopped or refused something",
                  {{"limit", "idempotent_answers"}})
        .add();
    core_.log().info("a tenant's oldest idempotent answers made room",
                     {{"code", "limit.idempotent_answers"},
                      {"tenant", scope.tenant.str()},
                      {"answers", *made_room}});
  }
  return {};
}

Result<std::uint64_t> SqlIdempotencyStore::keep_within_budget(sql::Executor& sql,
                                                              const std::string& tenant,
                                                              const std::string& shard) const {
  const std::uint64_t most_answers =
      std::max<std::uint64_t>(core_.options().idempotency_entries / kShards, 1);
  const std::uint64_t most_bytes = core_.options().idempotency_bytes / kShards;
  TRY(auto usage,
      sql.find("SELECT answers, bytes FROM idempotency_usage WHERE tenant = $1 AND shard = $2",
               {tenant, shard}));
  if (!usage) return 0;
  auto [answers, bytes] = usage->as<std::int64_t, std::int64_t>();
  if (std::cmp_less_equal(answers, most_answers) && std::cmp_less_equal(bytes, most_bytes)) {
    return 0;
  }
  // Newest first: what is within the budget stays, less a sixteenth, so that this happens rarely.
  // The one that came just now stays in any case.
  TRY(sql::Rows rows,
      sql.query("SELECT install_id, scope, bytes FROM idempotency_records WHERE tenant = $1 AND "
                "shard = $2 AND state = 'done' ORDER BY expires_at DESC LIMIT $3",
                {tenant, shard, most_answers + 1}));
  std::uint64_t kept = 0;
  std::int64_t kept_bytes = 0;
  for (const sql::Row& row : rows) {
    const auto size = row.at<std::int64_t>(2);
    const bool fits = kept < most_answers - most_answers / kShards &&
                      std::cmp_less_equal(kept_bytes + size, most_bytes - most_bytes / kShards);
    if (kept > 0 && !fits) break;
    ++kept;
    kept_bytes += size;
  }
  TRY(sql::Rows gone,
      sql.query("DELETE FROM idempotency_records WHERE " +
                    is_one_of(sql.dialect(), "idempotency_records",
                              "WHERE tenant = $1 AND shard = $2 AND state = 'done' ORDER BY "
                              "expires_at DESC LIMIT $3 OFFSET $4") +
                    " RETURNING bytes",
                {tenant, shard, most_answers, kept}));
  if (rows.size() <= most_answers) {
    // All of them were seen: that is what counts, whatever an older version left out.
    answers = static_cast<std::int64_t>(kept);
    bytes = kept_bytes;
  } else {
    answers -= static_cast<std::int64_t>(gone.size());
    for (const sql::Row& row : gone) bytes -= row.at<std::int64_t>(0);
  }
  TRY_VOID(sql.execute(
      "UPDATE idempotency_usage SET answers = $1, bytes = $2 WHERE tenant = $3 AND shard = $4",
      {answers, bytes, tenant, shard}));
  return gone.size();
}

async::Task<Status> SqlIdempotencyStore::release(domain::IdempotencyScope scope,
                                                 std::string digest) {
  co_return co_await core_.deps().blocking->run([this, &scope, &digest]() -> Status {
    auto removed = core_.db().write([&](sql::Executor& sql) {
      return sql.execute(
          "DELETE FROM idempotency_records WHERE tenant = $1 AND install_id = $2 AND "
          "scope = $3 AND request_digest = $4 AND state = 'running'",
          {scope.tenant, scope.install, scope_key(scope), digest});
    });
    if (!removed) return fail(unavailable());
    return {};
  });
}

namespace {

/// Answers how many records are gone.
Result<std::size_t> forget_expired(sql::Executor& sql, WallTime now) {
  TRY(sql::Rows rows,
      sql.query("DELETE FROM idempotency_records WHERE " +
                    is_one_of(sql.dialect(), "idempotency_records",
                              "WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2") +
                    " RETURNING tenant, shard, state, bytes",
                {now, kSweptAtOnce}));
  std::map<std::pair<std::string, std::string>, std::pair<std::int64_t, std::int64_t>> usage;
  for (const sql::Row& row : rows) {
    auto [tenant, shard, state, bytes] =
        row.as<std::string, std::string, std::string, std::int64_t>();
    if (state != "done") continue;
    auto& [answers, sum] = usage[{tenant, shard}];
    answers -= 1;
    sum -= bytes;
  }
  for (const auto& [place, sum] : usage) {
    TRY_VOID(add_to_usage(sql, place.first, place.second, sum.first, sum.second));
  }
  if (!usage.empty()) TRY_VOID(sql.execute("DELETE FROM idempotency_usage WHERE answers <= 0"));
  return rows.size();
}

}  // namespace

Result<bool> SqlIdempotencyStore::sweep() {
  for (std::uint64_t sweeps = 0; sweeps < kSweeps; ++sweeps) {
    TRY(const std::size_t gone,
        core_.db().write([this](sql::Executor& sql) { return forget_expired(sql, core_.now()); }));
    if (gone < kSweptAtOnce) return false;
  }
  return true;
}

}  // namespace alga::control_plane
