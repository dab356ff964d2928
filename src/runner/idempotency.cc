#include "runner/idempotency.h"

#include <string_view>
#include <utility>

#include "crypto/digest.h"

namespace alga::runner {
namespace {

std::size_t size_of(const domain::ExecuteResponse& answer) {
  std::size_t size = answer.body ? answer.body->size() : 0;
  for (const domain::Header& header : answer.headers) {
    size += header.name.size() + header.value.size();
  }
  return size;
}

}  // namespace

Idempotency::Claim Idempotency::claim(const std::string& key, const std::string& digest) {
  const std::scoped_lock lock(mutex_);
  const SteadyTime now = clock_.steady();
  if (const auto found = by_key_.find(key); found != by_key_.end()) {
    const Entry& entry = *found->second;
    if (!entry.finished || entry.until > now) {
      if (entry.digest != digest) return {State::mismatch, {}};
      if (!entry.finished) return {State::in_progress, {}};
      return {State::replay, entry.answer};
    }
    drop(found->second);
  }
  const std::size_t bytes = key.size() + digest.size();
  if (!make_room(bytes)) return {State::full, {}};
  order_.push_back({.key = key, .digest = digest, .until = now, .answer = {}, .bytes = bytes});
  by_key_[key] = std::prev(order_.end());
  bytes_ += bytes;
  return {};
}

void Idempotency::finish(const std::string& key, std::optional<domain::ExecuteResponse> answer) {
  const std::scoped_lock lock(mutex_);
  const auto found = by_key_.find(key);
  if (found == by_key_.end() || found->second->finished) return;
  const std::size_t bytes = answer ? size_of(*answer) : 0;
  if (!answer || bytes > options_.max_answer_bytes) {
    drop(found->second);
    return;
  }
  Entry& entry = *found->second;
  entry.answer = std::move(*answer);
  entry.finished = true;
  entry.until = clock_.steady() + options_.life;
  entry.bytes += bytes;
  bytes_ += bytes;
  make_room(0);
}

/// Removes what has expired and then the oldest answers; false when that is not enough.
bool Idempotency::make_room(std::size_t bytes) {
  const auto fits = [&] {
    return bytes_ + bytes <= options_.max_bytes && by_key_.size() < options_.max_entries;
  };
  for (auto entry = order_.begin(); entry != order_.end() && !fits();) {
    const auto next = std::next(entry);
    if (entry->finished) drop(entry);
    entry = next;
  }
  return fits();
}

void Idempotency::drop(Order::iterator entry) {
  bytes_ -= entry->bytes;
  by_key_.erase(entry->key);
  order_.erase(entry);
}

std::size_t Idempotency::bytes() const {
  const std::scoped_lock lock(mutex_);
  return bytes_;
}

std::string idempotency_scope(const domain::ExecuteRequest& request) {
  // Identifiers hold no line break, so the parts cannot run into each other.
  return request.tenant.str() + '\n' + request.extension.str() + '\n' +
         (request.install ? request.install->str() : "") + '\n' +
         request.idempotency_key.value_or("");
}

std::string idempotency_digest(const domain::ExecuteRequest& request) {
  std::string text;
  const auto add = [&text](std::string_view part) {
    text += std::to_string(part.size());
    text += ':';
    text += part;
  };
  add(request.content_hash.hex());
  add(request.http.method);
  add(request.http.url);
  add(request.http.body ? "body" : "none");
  add(request.http.body.value_or(""));
  add(request.user ? request.user->user_id : "");
  return crypto::sha256_hex(text);
}

}  // namespace alga::runner
