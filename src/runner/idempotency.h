#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include "base/clock.h"
#include "base/metrics.h"
#include "domain/execute.h"

namespace alga::runner {

/// Remembers the answers of guests to requests with an `x-idempotency-key`, in this process. A key
/// belongs to one tenant, extension and install. Keeps what the guest answered and a digest of what
/// it was asked: no envelope, no header, no body of a request. What has expired goes first and then
/// the oldest answers, when there is no room; what still runs keeps its place. Thread-safe.
class Idempotency {
 public:
  struct Options {
    /// Of answers and keys together, as far as forgetting answers helps; 0: no answer is kept, and
    /// only requests at the same time run once.
    std::size_t max_bytes = std::size_t{64} << 20U;
    std::size_t max_entries = 100'000;
    std::size_t max_answer_bytes = std::size_t{1} << 20U;   ///< a larger one is not kept
    std::size_t max_running_bytes = std::size_t{8} << 20U;  ///< keys of what still runs
    std::chrono::seconds life = std::chrono::hours{24};
  };
  enum class State : std::uint8_t {
    fresh,        ///< run it, then finish()
    replay,       ///< it was done
    in_progress,  ///< another request is at it
    mismatch,     ///< the key was used for another request
    full,         ///< too many at once
  };
  struct Claim {
    State state = State::fresh;
    domain::ExecuteResponse answer;  ///< of a replay
  };

  /// `clock` and `metrics` outlive it.
  Idempotency(Options options, const Clock& clock, Metrics& metrics);

  [[nodiscard]] Claim claim(const std::string& key, const std::string& digest);
  /// Ends a fresh claim. With an answer it is remembered; without, the next request runs again.
  void finish(const std::string& key, std::optional<domain::ExecuteResponse> answer);

  [[nodiscard]] std::size_t bytes() const;

 private:
  struct Entry {
    std::string key, digest;
    bool finished = false;
    SteadyTime until;
    domain::ExecuteResponse answer;
    std::size_t bytes = 0;
  };
  using Order = std::list<Entry>;
  Claim claim_locked(const std::string& key, const std::string& digest);
  void forget_expired(SteadyTime now);
  void give_up_oldest();
  void drop(Order::iterator entry);

  const Options options_;
  const Clock& clock_;
  Counter &fresh_, &replays_, &in_progress_, &mismatches_, &full_, &too_large_, &given_up_;
  Gauge& bytes_gauge_;
  mutable std::mutex mutex_;
  Order running_;
  Order finished_;  // those that expire first are in front
  std::unordered_map<std::string, Order::iterator> by_key_;
  std::size_t bytes_ = 0, running_bytes_ = 0;
};

/// The place of a request's key: tenant, extension, install and the key.
[[nodiscard]] std::string idempotency_scope(const domain::ExecuteRequest& request);
/// SHA-256 (hex) over what makes two requests the same: bundle, method, URL, body and user. A
/// retry has another request id, another grant and perhaps another envelope.
[[nodiscard]] std::string idempotency_digest(const domain::ExecuteRequest& request);

}  // namespace alga::runner
