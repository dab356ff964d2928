#include "runner/refusal_log.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace alga::runner {
namespace {

constexpr std::chrono::seconds between_lines{1};

}  // namespace

void RefusalLog::note(const httpd::Peer& peer, std::uint16_t status, std::string_view code,
                      std::string_view request_id) {
  metrics_
      .counter("alga_runner_refused_total", "Requests refused before they were anybody's execution",
               {{"code", code}})
      .add();
  std::uint64_t left_out = 0;
  if (!may_write(&left_out)) return;
  const std::string_view certificate =
      peer.certificate_names.empty() ? std::string_view{} : peer.certificate_names.front();
  log_.info("request refused", {{"code", code},
                                {"status", status},
                                {"peer", peer.address},
                                {"certificate", certificate},
                                {"request_id", request_id},
                                {"left_out", left_out}});
}

bool RefusalLog::may_write(std::uint64_t* left_out) {
  const std::scoped_lock lock(mutex_);
  const auto passed = std::chrono::floor<std::chrono::seconds>(clock_.steady() - refilled_);
  refilled_ += passed;
  lines_ = std::min<std::uint64_t>(most_lines,
                                   lines_ + static_cast<std::uint64_t>(passed / between_lines));
  if (lines_ == 0) {
    ++left_out_;
    return false;
  }
  --lines_;
  *left_out = std::exchange(left_out_, 0);
  return true;
}

}  // namespace alga::runner
