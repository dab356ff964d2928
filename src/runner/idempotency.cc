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

Counter& claims(Metrics& metrics, std::string_view outcome) {
  return metrics.counter("alga_runner_idempotency_total",
                         "Requests with an idempotency key, by what was made of it",
                         {{"outcome", outcome}});
}

Counter& not_kept(Metrics& metrics, std::string_view reason) {
  return metrics.counter("alga_runner_idempotency_not_kept_total",
                         "Answers that a repetition does not find though their time is not over",
                         {{"reason", reason}});
}

}  // namespace

Idempotency::Idempotency(Options options, const Clock& clock, Metrics& metrics)
    : options_(options),
      clock_(clock),
      fresh_(claims(metrics, "fresh")),
      replays_(claims(metrics, "replay")),
      in_progress_(claims(metrics, "in_progress")),
      mismatches_(claims(metrics, "mismatch")),
      full_(claims(metrics, "full")),
      too_large_(not_kept(metrics, "too_large")),
      given_up_(not_kept(metrics, "no_room")),
      bytes_gauge_(metrics.gauge("alga_runner_idempotency_bytes",
                                 "Answers that are kept for repetition, and their keys")) {}

Idempotency::Claim Idempotency::claim(const std::string& key, const std::string& digest) {
  Claim claim;
  {
    const std::scoped_lock lock(mutex_);
    claim = claim_locked(key, digest);
    bytes_gauge_.set(static_cast<double>(bytes_));
  }
  switch (claim.state) {
    case State::fresh: fresh_.add(); break;
    case State::replay: replays_.add(); break;
    case State::in_progress: in_progress_.add(); break;
    case State::mismatch: mismatches_.add(); break;
    case State::full: full_.add(); break;
  }
  return claim;
}

Idempotency::Claim Idempotency::claim_locked(const std::string& key, const std::string& digest) {
  forget_expired(clock_.steady());
  if (const auto found = by_key_.find(key); found != by_key_.end()) {
    const Entry& entry = *found->second;
    if (entry.digest != digest) return {State::mismatch, {}};
    if (!entry.finished) return {State::in_progress, {}};
    return {State::replay, entry.answer};
  }
  const std::size_t bytes = key.size() + digest.size();
  if (running_bytes_ + bytes > options_.max_running_bytes) return {State::full, {}};
  if (running_.size() >= options_.max_entries) return {State::full, {}};
  while (by_key_.size() >= options_.max_entries) give_up_oldest();
  running_.push_back({.key = key, .digest = digest, .until = {}, .answer = {}, .bytes = bytes});
  by_key_[key] = std::prev(running_.end());
  bytes_ += bytes;
  running_bytes_ += bytes;
  while (bytes_ > options_.max_bytes && !finished_.empty()) give_up_oldest();
  return {};
}

void Idempotency::finish(const std::string& key, std::optional<domain::ExecuteResponse> answer) {
  const std::scoped_lock lock(mutex_);
  const auto found = by_key_.find(key);
  if (found == by_key_.end() || found->second->finished) return;
  const std::size_t bytes = answer ? size_of(*answer) : 0;
  const bool large = bytes > options_.max_answer_bytes;
  if (large) too_large_.add();
  if (!answer || large) {
    drop(found->second);
  } else {
    Entry& entry = *found->second;
    finished_.splice(finished_.end(), running_, found->second);
    running_bytes_ -= entry.bytes;
    entry.answer = std::move(*answer);
    entry.finished = true;
    entry.until = clock_.steady() + options_.life;
    entry.bytes += bytes;
    bytes_ += bytes;
    forget_expired(clock_.steady());
    while (bytes_ > options_.max_bytes && !finished_.empty()) give_up_oldest();
  }
  bytes_gauge_.set(static_cast<double>(bytes_));
}

void Idempotency::forget_expired(SteadyTime now) {
  while (!finished_.empty() && finished_.front().until <= now) drop(finished_.begin());
}

void Idempotency::give_up_oldest() {
  given_up_.add();
  drop(finished_.begin());
}

void Idempotency::drop(Order::iterator entry) {
  bytes_ -= entry->bytes;
  if (!entry->finished) running_bytes_ -= entry->bytes;
  by_key_.erase(entry->key);
  (entry->finished ? finished_ : running_).erase(entry);
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
  add(request.http.body ? "body" : request.malformed_body ? "malformed" : "none");
  add(request.http.body.value_or(""));
  add(request.user ? request.user->user_id : "");
  return crypto::sha256_hex(text);
}

}  // namespace alga::runner
