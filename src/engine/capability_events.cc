#include "engine/capability_events.h"

#include <utility>

namespace alga::engine {
namespace {

std::string times(std::uint64_t more) {
  return std::to_string(more) + (more == 1 ? " time more" : " times more");
}

}  // namespace

void CapabilityEvents::note(const Event& event, const Record& record) {
  std::string key(event.kind);
  key.append(1, '\0').append(event.what).append(1, '\0').append(event.reason);
  {
    const std::scoped_lock lock(mutex_);
    const auto found = seen_.find(key);
    if (found != seen_.end()) {
      ++found->second.more;
      return;
    }
    const bool given = event.kind == "secret_read" && event.reason == "given";
    if (seen_.size() >= most_kinds && !given) {
      ++others_;
      return;
    }
    seen_.emplace(std::move(key), Seen{std::string(event.kind), event.target, event.reason});
  }
  record(std::string(event.kind), event.target, event.reason);
}

void CapabilityEvents::conclude(const Record& record) {
  std::map<std::string, Seen> seen;
  std::uint64_t others = 0;
  {
    const std::scoped_lock lock(mutex_);
    seen.swap(seen_);
    std::swap(others, others_);
  }
  for (auto& [key, event] : seen) {
    if (event.more == 0) continue;
    record(event.kind, event.target, event.reason + " (" + times(event.more) + ")");
  }
  if (others != 0) record("denied", "(others)", times(others));
}

}  // namespace alga::engine
