#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

#include "domain/ports/records.h"

namespace alga::engine {

/// What one execution did that the audit trail wants to know: secrets that it read, capabilities
/// and addresses that it was denied. A guest may do each of these ten thousand times, so the first
/// time of each is recorded at once and every further one is counted, and told when the execution
/// ends. Thread-safe.
class CapabilityEvents {
 public:
  struct Event {
    std::string_view kind;  ///< `secret_read`, `denied`, `egress_denied`
    std::string_view what;  ///< what tells it from others; not recorded
    std::string target;     ///< redacted
    std::string reason;
  };
  using Record = std::function<void(std::string kind, std::string target, std::string reason)>;

  /// Records it when it is the first of its kind, `what` and reason. Beyond `most_kinds` different
  /// ones only their number is told, except of secrets that were given: those are as many as the
  /// install has.
  void note(const Event& event, const Record& record);
  /// Tells what was counted and not recorded, and forgets it.
  void conclude(const Record& record);

  static constexpr std::size_t most_kinds = 100;

 private:
  struct Seen {
    std::string kind, target, reason;
    std::uint64_t more = 0;
  };
  std::mutex mutex_;
  std::map<std::string, Seen> seen_;
  std::uint64_t others_ = 0;
};

}  // namespace alga::engine
