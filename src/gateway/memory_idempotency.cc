#include "gateway/memory_idempotency.h"

namespace alga::gateway {
namespace {

using domain::IdempotencyClaim;
using domain::IdempotencyScope;
using domain::StoredAnswer;

/// The parts are identifiers and visible text: a line break cannot be in any of them.
std::string key_of(const IdempotencyScope& scope) {
  return scope.tenant.str() + '\n' + scope.install.str() + '\n' + scope.caller + '\n' +
         scope.endpoint + '\n' + scope.key;
}

std::size_t size_of(const StoredAnswer& answer) {
  std::size_t size = answer.body.size();
  for (const domain::Header& header : answer.headers) {
    size += header.name.size() + header.value.size();
  }
  return size;
}

}  // namespace

async::Task<Result<IdempotencyClaim>> MemoryIdempotency::claim(IdempotencyScope scope,
                                                               std::string digest,
                                                               std::chrono::milliseconds lease) {
  co_return try_claim(key_of(scope), digest, lease);
}

Result<IdempotencyClaim> MemoryIdempotency::try_claim(const std::string& key,
                                                      const std::string& digest,
                                                      std::chrono::milliseconds lease) {
  const std::scoped_lock lock(mutex_);
  const SteadyTime now = clock_.steady();
  if (const auto found = by_key_.find(key); found != by_key_.end()) {
    const Entry& entry = *found->second;
    if (entry.until > now) {
      if (entry.digest != digest) return IdempotencyClaim{IdempotencyClaim::Kind::mismatch, {}};
      if (!entry.finished) return IdempotencyClaim{IdempotencyClaim::Kind::in_progress, {}};
      return IdempotencyClaim{IdempotencyClaim::Kind::replay, entry.answer};
    }
    drop(found->second);
  }
  const std::size_t bytes = key.size() + digest.size();
  if (!make_room(bytes)) {
    return fail(
        {Kind::unavailable, "idempotency.unavailable", "too many idempotent requests at once", 1});
  }
  order_.push_back({.key = key, .digest = digest, .until = now + lease, .bytes = bytes});
  by_key_[key] = std::prev(order_.end());
  bytes_ += bytes;
  return IdempotencyClaim{};
}

async::Task<Status> MemoryIdempotency::complete(IdempotencyScope scope, std::string digest,
                                                StoredAnswer answer) {
  const std::scoped_lock lock(mutex_);
  const auto entry = running(key_of(scope), digest);
  if (entry == order_.end()) co_return Status{};
  const std::size_t bytes = size_of(answer);
  if (bytes > options_.max_answer_bytes) {
    drop(entry);
    co_return Status{};
  }
  entry->answer = std::move(answer);
  entry->finished = true;
  entry->until = clock_.steady() + options_.life;
  entry->bytes += bytes;
  bytes_ += bytes;
  make_room(0);
  co_return Status{};
}

async::Task<Status> MemoryIdempotency::release(IdempotencyScope scope, std::string digest) {
  const std::scoped_lock lock(mutex_);
  const auto entry = running(key_of(scope), digest);
  if (entry != order_.end()) drop(entry);
  co_return Status{};
}

/// Removes what has expired and then the oldest finished answers; false when that is not enough.
bool MemoryIdempotency::make_room(std::size_t bytes) {
  const SteadyTime now = clock_.steady();
  const auto fits = [&] {
    return bytes_ + bytes <= options_.max_bytes && order_.size() < options_.max_entries;
  };
  for (auto entry = order_.begin(); entry != order_.end() && !fits();) {
    const auto next = std::next(entry);
    if (entry->finished || entry->until <= now) drop(entry);
    entry = next;
  }
  return fits();
}

void MemoryIdempotency::drop(Order::iterator entry) {
  bytes_ -= entry->bytes;
  by_key_.erase(entry->key);
  order_.erase(entry);
}

MemoryIdempotency::Order::iterator MemoryIdempotency::running(const std::string& key,
                                                              const std::string& digest) {
  const auto found = by_key_.find(key);
  if (found == by_key_.end() || found->second->finished || found->second->digest != digest) {
    return order_.end();
  }
  return found->second;
}

std::size_t MemoryIdempotency::entries() const {
  const std::scoped_lock lock(mutex_);
  return order_.size();
}

std::size_t MemoryIdempotency::bytes() const {
  const std::scoped_lock lock(mutex_);
  return bytes_;
}

}  // namespace alga::gateway
