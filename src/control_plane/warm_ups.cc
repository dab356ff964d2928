#include "control_plane/warm_ups.h"

#include <algorithm>
#include <array>

#include "async/thread_name.h"
#include "base/late.h"
#include "domain/warmup_token.h"

namespace alga::control_plane {
namespace {

using Answer = domain::WarmUpTarget::Answer;

constexpr std::array<double, 8> kSeconds{0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30};
constexpr std::string_view kTotal = "alga_warm_ups_total";
constexpr std::string_view kTotalHelp = "Orders to runners to have a bundle ready, by outcome";

std::string_view name_of(Answer answer) {
  switch (answer) {
    case Answer::ready: return "ready";
    case Answer::compiling: return "compiling";
    case Answer::nothing: return "nothing";
  }
  return "";
}

}  // namespace

WarmUps::WarmUps(const Core& core, const SigningKeys& keys)
    : core_(core),
      keys_(keys),
      series_{core.deps().metrics->counter(kTotal, kTotalHelp, {{"outcome", "ready"}}),
              core.deps().metrics->counter(kTotal, kTotalHelp, {{"outcome", "compiling"}}),
              core.deps().metrics->counter(kTotal, kTotalHelp, {{"outcome", "nothing"}}),
              core.deps().metrics->counter(kTotal, kTotalHelp, {{"outcome", "failed"}}),
              core.deps().metrics->counter(kTotal, kTotalHelp, {{"outcome", "dropped"}}),
              core.deps().metrics->histogram("alga_warm_up_seconds",
                                             "From the order to the runner's answer", kSeconds)} {
  for (domain::WarmUpTarget* target : core.deps().warm_up) {
    lanes_.push_back(std::make_unique<Lane>());
    lanes_.back()->target = target;
  }
  for (const auto& lane : lanes_) lane->thread = std::thread([this, &lane = *lane] { run(lane); });
}

WarmUps::~WarmUps() { stop(); }

void WarmUps::stop() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (const auto& lane : lanes_) lane->target->abort();
  for (const auto& lane : lanes_) {
    if (lane->thread.joinable()) lane->thread.join();
  }
}

void WarmUps::order(const ContentHash& bundle) {
  {
    const std::scoped_lock lock(mutex_);
    for (const auto& lane : lanes_) {
      if (std::ranges::find(lane->waiting, bundle) != lane->waiting.end()) continue;
      if (lane->waiting.size() >= longest_queue) {
        series_.dropped.add();
        continue;
      }
      lane->waiting.push_back(bundle);
    }
  }
  wake_.notify_all();
}

void WarmUps::run(Lane& lane) {
  async::name_this_thread("warm-up");
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [&] { return stopping_ || !lane.waiting.empty(); });
    if (stopping_) return;
    const ContentHash bundle = std::move(lane.waiting.front());
    lane.waiting.pop_front();
    lock.unlock();
    perform(lane, bundle);
    lock.lock();
  }
}

Result<Answer> WarmUps::attempt(Lane& lane, const ContentHash& bundle) const {
  // Signed anew for each attempt: it may have waited for longer than a token lives.
  return lane.target->warm_up(
      {bundle, domain::sign_warmup(bundle, core_.now(), *keys_.signer(KeyPurpose::grant))});
}

void WarmUps::perform(Lane& lane, const ContentHash& bundle) {
  come_late(std::chrono::milliseconds{500});
  const SteadyTime began = core_.steady();
  Result<Answer> answer = attempt(lane, bundle);
  if (!answer) {
    std::unique_lock lock(mutex_);
    if (wake_.wait_for(lock, before_second_attempt, [this] { return stopping_; })) return;
    lock.unlock();
    answer = attempt(lane, bundle);
  }
  const std::chrono::duration<double> took = core_.steady() - began;
  if (!answer) {
    series_.failed.add();
    core_.log().warn("a runner could not be warmed up; its first request waits instead",
                     {{"bundle", bundle.hex()},
                      {"code", answer.error().code},
                      {"reason", answer.error().message}});
    return;
  }
  count(*answer);
  series_.seconds.observe(took.count());
  core_.log().info(
      "warmed up a runner",
      {{"bundle", bundle.hex()}, {"outcome", name_of(*answer)}, {"seconds", took.count()}});
}

void WarmUps::count(Answer answer) {
  switch (answer) {
    case Answer::ready: return series_.ready.add();
    case Answer::compiling: return series_.compiling.add();
    case Answer::nothing: return series_.nothing.add();
  }
}

}  // namespace alga::control_plane
