#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "base/result.h"
#include "base/secret.h"
#include "crypto/sign.h"
#include "egress/http_client.h"

// What a runner without a database asks of the control plane in another process.

namespace alga::runner {

/// Where another role answers, and how we show who we are.
struct ControlPlaneLink {
  std::string url;  ///< without a slash at its end
  /// `x-runner-auth`, asked for each request so that a rotated token is used at once.
  std::function<Result<Secret>()> token;
  egress::ClientTls tls;
  std::chrono::milliseconds timeout{10'000};
};

/// Brings whole lines of records (telemetry/record_json.h) to `POST /internal/records`. Blocks;
/// answers success once they are stored there. Error: that of the refusal (`records.refused`,
/// Kind::invalid, when no repetition can help), else `records.unavailable`.
[[nodiscard]] Status deliver_records(egress::HttpClient& client, const ControlPlaneLink& link,
                                     std::string_view lines);

/// The keys of `GET /internal/grant-keys`, and what the clock of the control plane said, in whole
/// seconds, if its answer tells.
struct GrantKeys {
  std::vector<crypto::PublicKey> keys;
  std::vector<crypto::PublicKey> broker_keys;  ///< of an older control plane none
  std::optional<WallTime> told;
};

/// Blocks. Error: `grant.keys_unavailable`; an answer without any good key counts as none.
[[nodiscard]] Result<GrantKeys> fetch_grant_keys(egress::HttpClient& client,
                                                 const ControlPlaneLink& link);

/// Asks for the keys of grants now and then, on a thread of its own: every half minute, so that a
/// new key is known long before it signs, and every second while there is no answer. Keys that were
/// known stay known while the control plane cannot be asked; grants live for a minute at most.
/// Compares the clocks, too: one line `clock.skewed` when they differ by more than grants tolerate,
/// another when they agree again.
class GrantKeyWatch {
 public:
  using Changed = std::function<void(const GrantKeys&)>;
  /// `changed` is called on the watch's thread with every answer. `client` and `clock` outlive the
  /// watch.
  GrantKeyWatch(egress::HttpClient& client, ControlPlaneLink link, Changed changed,
                const Clock& clock, Logger log);
  ~GrantKeyWatch();
  GrantKeyWatch(const GrantKeyWatch&) = delete;
  GrantKeyWatch& operator=(const GrantKeyWatch&) = delete;

 private:
  void run();
  void compare_clocks(WallTime told, std::chrono::milliseconds took);

  egress::HttpClient& client_;
  const ControlPlaneLink link_;
  const Changed changed_;
  const Clock& clock_;
  const Logger log_;
  enum class Skew : std::uint8_t { none, ahead, behind };
  Skew skew_ = Skew::none;  // of the thread alone
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace alga::runner
