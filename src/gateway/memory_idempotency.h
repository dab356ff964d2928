#pragma once

#include <cstddef>
#include <list>
#include <mutex>
#include <string>
#include <unordered_map>

#include "base/clock.h"
#include "domain/ports/idempotency.h"

namespace alga::gateway {

/// Idempotency within one process. Answers larger than `max_answer_bytes` are not kept. When the
/// bounds are reached the oldest finished answers go first; when only running ones are left, new
/// keys are refused. Thread-safe; never suspends.
class MemoryIdempotency final : public domain::IdempotencyStore {
 public:
  struct Options {
    std::size_t max_entries = 100'000;
    std::size_t max_bytes = 64U << 20U;
    std::size_t max_answer_bytes = 1U << 20U;
    std::chrono::seconds life = std::chrono::hours{24};
  };
  /// `clock` outlives the store.
  MemoryIdempotency(Options options, const Clock& clock) : options_(options), clock_(clock) {}

  async::Task<Result<domain::IdempotencyClaim>> claim(domain::IdempotencyScope scope,
                                                      std::string digest,
                                                      std::chrono::milliseconds lease) override;
  async::Task<Status> complete(domain::IdempotencyScope scope, std::string digest,
                               domain::StoredAnswer answer) override;
  async::Task<Status> release(domain::IdempotencyScope scope, std::string digest) override;

  [[nodiscard]] std::size_t entries() const;
  [[nodiscard]] std::size_t bytes() const;

 private:
  struct Entry {
    std::string key;
    std::string digest;
    bool finished = false;
    SteadyTime until;
    domain::StoredAnswer answer;
    std::size_t bytes = 0;
  };
  using Order = std::list<Entry>;  ///< oldest first

  Result<domain::IdempotencyClaim> try_claim(const std::string& key, const std::string& digest,
                                             std::chrono::milliseconds lease);
  bool make_room(std::size_t bytes);
  void drop(Order::iterator entry);
  Order::iterator running(const std::string& key, const std::string& digest);

  const Options options_;
  const Clock& clock_;
  mutable std::mutex mutex_;
  Order order_;
  std::unordered_map<std::string, Order::iterator> by_key_;
  std::size_t bytes_ = 0;
};

}  // namespace alga::gateway
