#pragma once

#include "control_plane/core.h"
#include "domain/ports/idempotency.h"

namespace alga::control_plane {

/// Idempotency keys in SQL: one execution of many requests on all gateways together. Answers are
/// kept for `Options::idempotency_life`; those beyond a megabyte are not kept, and a tenant's
/// oldest ones make room when there are more than `idempotency_entries` or `idempotency_bytes` of
/// them. They are sealed with the key of the scope; without it, and when it is another than then,
/// an answer counts as not kept. A request that still runs keeps its place: how many do is bounded
/// by who runs them. Thread-safe.
class SqlIdempotencyStore final : public domain::IdempotencyStore {
 public:
  explicit SqlIdempotencyStore(const Core& core) : core_(core) {}
  async::Task<Result<domain::IdempotencyClaim>> claim(domain::IdempotencyScope scope,
                                                      std::string digest,
                                                      std::chrono::milliseconds lease) override;
  async::Task<Status> complete(domain::IdempotencyScope scope, std::string digest,
                               domain::StoredAnswer answer) override;
  async::Task<Status> release(domain::IdempotencyScope scope, std::string digest) override;
  /// Deletes what has expired, a bounded number in small transactions; answers whether there may be
  /// more.
  Result<bool> sweep();

 private:
  Status complete_blocking(const domain::IdempotencyScope& scope, const std::string& digest,
                           const domain::StoredAnswer& answer) const;
  /// Answers how many answers left to make room.
  Result<std::uint64_t> keep_within_budget(sql::Executor& sql, const std::string& tenant,
                                           const std::string& shard) const;
  Result<domain::IdempotencyClaim> claim_blocking(const domain::IdempotencyScope& scope,
                                                  const std::string& digest,
                                                  std::chrono::milliseconds lease) const;
  const Core& core_;
};

}  // namespace alga::control_plane
