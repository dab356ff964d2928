#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "base/secret.h"
#include "domain/ports/warm_up_target.h"
#include "egress/addresses_of.h"
#include "egress/http_client.h"

namespace alga::control_plane {

/// A runner of another process, by `POST /warmup`, or each of several whose addresses stand behind
/// one name. Error of its own: `runner.unreachable`, also when one of several failed. Thread-safe.
class HttpWarmUpTarget final : public domain::WarmUpTarget {
 public:
  struct Options {
    /// Of the runner. A name that resolves to several addresses is as many runners; one address
    /// that balances several is told for one of them.
    std::string url;
    /// `x-runner-service-token`, asked for each order; may be empty.
    std::function<Result<Secret>()> service_token;
    egress::ClientTls tls;
    /// A runner answers when it is ready or has waited for `engine.cold_wait`.
    std::chrono::milliseconds timeout{60'000};
    /// Looks the addresses up, for each order anew: runners come and go.
    std::function<Result<std::vector<std::string>>(const std::string& url)> addresses =
        egress::addresses_of;
  };
  /// `client` outlives the target.
  HttpWarmUpTarget(Options options, egress::HttpClient& client);

  Result<Answer> warm_up(const domain::WarmUpOrder& order) override;
  void abort() noexcept override;

 private:
  using Outcome = Result<domain::HttpResponse>;
  /// The outcome comes with the answer, or with abort().
  std::future<Outcome> start(egress::ClientRequest request, std::uint64_t& id);
  /// Sends the request to every address at once, or to whatever the name leads to.
  std::vector<Outcome> send(const egress::ClientRequest& request,
                            const std::vector<std::string>& addresses);

  Options options_;
  egress::HttpClient& client_;
  std::mutex mutex_;
  bool aborted_ = false;
  std::set<std::uint64_t> under_way_;
};

}  // namespace alga::control_plane
