#pragma once

#include <cstdint>
#include <mutex>
#include <string_view>
#include <utility>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "httpd/message.h"

namespace alga::runner {

/// One line for each request that is refused before it is anybody's execution, so that an operator
/// finds who sends them and why they fail; the lines of a flood are counted instead. Twenty at once
/// and one a second after that; the next line says how many were left out. Each counts in
/// `alga_runner_refused_total`. Says nothing that the caller chose but its request id. Thread-safe.
class RefusalLog {
 public:
  /// All of them outlive the log.
  RefusalLog(const Clock& clock, Metrics& metrics, Logger log)
      : clock_(clock), metrics_(metrics), log_(std::move(log)), refilled_(clock.steady()) {}

  /// `code` is one of ours.
  void note(const httpd::Peer& peer, std::uint16_t status, std::string_view code,
            std::string_view request_id);

 private:
  [[nodiscard]] bool may_write(std::uint64_t* left_out);

  const Clock& clock_;
  Metrics& metrics_;
  const Logger log_;
  std::mutex mutex_;
  SteadyTime refilled_;
  std::uint64_t lines_ = most_lines;
  std::uint64_t left_out_ = 0;

  static constexpr std::uint64_t most_lines = 20;
};

}  // namespace alga::runner
