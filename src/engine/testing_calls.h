#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "alga_bridge.h"

// A host call without a guest: what the engine answers it is kept for a test to read. The test
// program is linked with --wrap for each ab_call_… function (CMakeLists.txt), so that a call made
// here is answered here, and one that the bridge made goes on to the bridge.

namespace alga::engine::testing {

/// One answered or unanswered call. Not copied: its address is the ab_call.
class KeptCall {
 public:
  explicit KeptCall(std::uint64_t id = 1);
  ~KeptCall();
  KeptCall(const KeptCall&) = delete;
  KeptCall& operator=(const KeptCall&) = delete;
  [[nodiscard]] ab_call* raw() { return reinterpret_cast<ab_call*>(this); }

  const std::uint64_t id;
  int answers = 0;  ///< more than one is a fault of the engine
  /// `none`, `u64`, `string`, `bytes`, `pairs`, `context`, `user`, `http`, `entry`, `page`, `err`,
  /// `abort`; empty while there is no answer.
  std::string how;
  std::optional<ab_err> error;
  std::uint64_t number = 0;  ///< also the status of an HTTP answer and the revision of a record
  std::string text;          ///< the value, or the reason of an abort
  std::vector<std::pair<std::string, std::string>> pairs;
  std::map<std::string, std::string> fields;  ///< of a context, a user, a record, a page
};

/// How an execution without a guest ends at its next step.
extern ab_outcome scripted_outcome;

}  // namespace alga::engine::testing
