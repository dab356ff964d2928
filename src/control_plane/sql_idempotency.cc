#include "control_plane/sql_idempotency.h"

#include <fmt/format.h>

#include "base/bytes.h"
#include "crypto/digest.h"
#include "json/parse.h"

namespace alga::control_plane {
namespace {

constexpr std::size_t kLargestAnswer = 1U << 20U;

/// Endpoint and key are the caller's text of any length; their digest is a key column.
std::string scope_key(const domain::IdempotencyScope& scope) {
  return crypto::sha256_hex(
      fmt::format("{}:{}:{}", scope.endpoint.size(), scope.endpoint, scope.key));
}

std::string encode(const domain::StoredAnswer& answer) {
  boost::json::array headers;
  for (const auto& header : answer.headers) {
    headers.push_back(boost::json::array{header.name, base64_encode(as_bytes(header.value))});
  }
  return to_text(boost::json::object{{"status", answer.status},
                                     {"headers", std::move(headers)},
                                     {"body", base64_encode(as_bytes(answer.body))}});
}

domain::StoredAnswer decode(const std::string& text) {
  boost::json::value value = from_column(text);
  domain::StoredAnswer answer;
  answer.status = value.at("status").to_number<std::uint16_t>();
  for (const auto& header : value.at("headers").as_array()) {
    auto bytes = base64_decode(header.at(1).as_string());
    answer.headers.push_back({std::string(header.at(0).as_string()), bytes.value_or("")});
  }
  answer.body = base64_decode(value.at("body").as_string()).value_or("");
  return answer;
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
      return domain::IdempotencyClaim{Kind::replay, decode(response->bytes)};
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
  if (answer.body.size() > kLargestAnswer) {
    co_return co_await release(std::move(scope), std::move(digest));
  }
  co_return co_await core_.deps().blocking->run([this, &scope, &digest, &answer]() -> Status {
    auto stored = core_.db().write([&](sql::Executor& sql) {
      return sql.execute(
          "UPDATE idempotency_records SET state = 'done', response = $1, expires_at = "
          "$2 WHERE tenant = $3 AND install_id = $4 AND scope = $5 AND request_digest "
          "= $6",
          {sql::Blob{encode(answer)}, core_.now() + core_.options().idempotency_life, scope.tenant,
           scope.install, scope_key(scope), digest});
    });
    if (!stored) return fail(unavailable());
    return {};
  });
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

Result<std::uint64_t> SqlIdempotencyStore::sweep() {
  return core_.db().write([&](sql::Executor& sql) {
    return sql.execute("DELETE FROM idempotency_records WHERE expires_at <= $1", {core_.now()});
  });
}

}  // namespace alga::control_plane
