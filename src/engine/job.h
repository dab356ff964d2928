#pragma once

#include <chrono>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "domain/end_class.h"

namespace alga::engine {

/// Something that the engine threads drive: an execution. The scheduler calls these one at a time
/// (never two at once for one job), on any of its threads, without holding its lock.
class Job : public std::enable_shared_from_this<Job> {
 public:
  enum class Step : std::uint8_t { again, wait, finished };
  /// Why a job is not admitted: no place in the process, in the tenant's share or in the install's,
  /// none of which it may or could wait for; or it did wait, for as long as one may; or the
  /// scheduler stops.
  enum class Refusal : std::uint8_t {
    full,
    tenant_full,
    install_full,
    waited,
    tenant_waited,
    install_waited,
    stopping
  };
  virtual ~Job() = default;
  [[nodiscard]] virtual const std::string& tenant() const = 0;
  /// Of the tenant's; does not change.
  [[nodiscard]] virtual const std::string& install() const = 0;
  /// Admitted: prepares. False when it has already ended.
  virtual bool start(std::chrono::microseconds queued) = 0;
  /// Runs for at most one slice. After `finished` it is not called again.
  virtual Step step() = 0;
  /// Ends it from outside: a deadline, a cancellation. Not called after `finished`.
  virtual void end(domain::EndClass reason) = 0;
  /// Tells the outcome to whoever waits for it and then gives back what the job holds, which may
  /// take as long as a short execution. Called once, after start(), step() or end() brought the
  /// end.
  virtual void conclude() = 0;
  /// It was never admitted.
  virtual void refuse(Refusal why) = 0;
  /// When its wall time is over; asked after start().
  [[nodiscard]] virtual SteadyTime deadline() const = 0;

 private:
  friend class Admission;
  friend class Scheduler;
  enum class State : std::uint8_t { idle, queued, running, running_woken, gone };
  std::shared_ptr<Job> self_;  // from admission to the end: an idle job has no other owner
  State state_ = State::idle;  // under the scheduler's lock
  std::optional<domain::EndClass> end_reason_;  // likewise
  bool waiting_ = false;                        // for admission, there:
  std::list<std::shared_ptr<Job>>::iterator in_line_{};
  bool started_ = false;
  bool had_slice_ = false;  // and was not done then
  SteadyTime submitted_{};
  std::multimap<SteadyTime, std::weak_ptr<Job>>::iterator timer_{};
  bool has_timer_ = false;
};
using JobPtr = std::shared_ptr<Job>;

}  // namespace alga::engine
