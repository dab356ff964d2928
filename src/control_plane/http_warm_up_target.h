#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <set>
#include <string>

#include "base/secret.h"
#include "domain/ports/warm_up_target.h"
#include "egress/http_client.h"

namespace alga::control_plane {

/// A runner of another process, by `POST /warmup`. Error of its own: `runner.unreachable`; else
/// what the runner answers. Thread-safe.
class HttpWarmUpTarget final : public domain::WarmUpTarget {
 public:
  struct Options {
    std::string url;  ///< of the runner, or of what balances several
    /// `x-runner-service-token`, asked for each order; may be empty.
    std::function<Result<Secret>()> service_token;
    egress::ClientTls tls;
    /// A runner answers when it is ready or has waited for `engine.cold_wait`.
    std::chrono::milliseconds timeout{60'000};
  };
  /// `client` outlives the target.
  HttpWarmUpTarget(Options options, egress::HttpClient& client);

  Result<Answer> warm_up(const domain::WarmUpOrder& order) override;
  void abort() noexcept override;

 private:
  /// Waits for the answer, or for abort().
  Result<domain::HttpResponse> send(egress::ClientRequest request);

  Options options_;
  egress::HttpClient& client_;
  std::mutex mutex_;
  bool aborted_ = false;
  std::set<std::uint64_t> under_way_;
};

}  // namespace alga::control_plane
