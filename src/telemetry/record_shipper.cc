#include "telemetry/record_shipper.h"

#include <algorithm>
#include <utility>

#include "async/thread_name.h"
#include "base/late.h"

namespace alga::telemetry {
namespace {

constexpr std::chrono::milliseconds kLook{200};
constexpr std::chrono::milliseconds kFirstPause{200};
constexpr std::chrono::milliseconds kLongestPause{10'000};

bool is_final(Kind kind) {
  return kind == Kind::invalid || kind == Kind::unprocessable || kind == Kind::too_large;
}

}  // namespace

RecordShipper::RecordShipper(RecordSpool& spool, Deliver deliver, Metrics& metrics, Logger log,
                             std::size_t batch_bytes)
    : spool_(spool),
      deliver_(std::move(deliver)),
      delivered_(metrics.counter("alga_records_delivered_total", "Records delivered")),
      refused_(metrics.counter("alga_records_refused_total",
                               "Records that their destination refused for good")),
      log_(std::move(log)),
      batch_bytes_(batch_bytes) {
  thread_ = std::thread([this] {
    async::name_this_thread("shipper");
    run();
  });
}

RecordShipper::~RecordShipper() {
  {
    const std::scoped_lock lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void RecordShipper::run() {
  std::chrono::milliseconds wait = kFirstPause;
  while (!stopping()) {
    auto batch = spool_.next(batch_bytes_, std::chrono::steady_clock::now() + kLook);
    if (!batch) continue;
    come_late(std::chrono::milliseconds{400});
    const Status status = deliver_(*batch);
    if (status) {
      delivered_.add(static_cast<double>(batch->records));
      spool_.acknowledge(*batch);
      wait = kFirstPause;
      continue;
    }
    if (is_final(status.error().kind)) {
      log_.error("records refused", {{"records", batch->records}, {"code", status.error().code}});
      refused_.add(static_cast<double>(batch->records));
      spool_.acknowledge(*batch);
      continue;
    }
    log_.warn("records not delivered", {{"code", status.error().code},
                                        {"reason", status.error().message},
                                        {"retry_ms", wait.count()}});
    if (!pause(wait)) return;
    wait = std::min(wait * 2, kLongestPause);
  }
}

/// False when it is time to end.
bool RecordShipper::pause(std::chrono::milliseconds duration) {
  std::unique_lock lock(mutex_);
  return !wake_.wait_for(lock, duration, [this] { return stop_; });
}

bool RecordShipper::stopping() {
  const std::scoped_lock lock(mutex_);
  return stop_;
}

}  // namespace alga::telemetry
