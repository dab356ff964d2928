#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/secret.h"
#include "domain/ports/change_feed.h"
#include "domain/ports/install_configs.h"
#include "egress/http_client.h"

namespace alga::gateway {

/// Install-config from the control plane of another process. While the feed of changes holds, an
/// answer is served until a change is seen; without it for at most one lease, counted from the
/// moment the question was asked; and never past half the life of its grant or envelope. So a
/// request that begins after the acknowledgement of a change sees it. What has used a third of
/// its time is asked for again while it serves, so that requests neither wait for that nor notice a
/// control plane that is away for a moment. What may not be served and cannot be asked for is
/// refused. Concurrent questions for one install are one, except where the
/// answer holds a broker token: that is asked for with each request and never kept. Bounded.
/// Thread-safe.
class HttpInstallConfigs final : public domain::InstallConfigs {
 public:
  struct Options {
    std::string url;  ///< of the control plane
    /// `x-runner-auth`, asked for each question.
    std::function<Result<Secret>()> token;
    egress::ClientTls tls;
    std::chrono::milliseconds lease{1'000};
    std::chrono::milliseconds timeout{5'000};
    std::size_t max_entries = 10'000;
  };
  /// The client and the clock outlive every question, the feed the object; without it there are
  /// only leases.
  HttpInstallConfigs(Options options, egress::HttpClient& client, const Clock& clock,
                     const domain::ChangeFeed* feed = nullptr);
  ~HttpInstallConfigs() override;

  async::Task<Result<std::shared_ptr<const domain::InstallConfig>>> resolve(
      TenantId tenant, std::string extension) override;

  [[nodiscard]] std::size_t entries() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace alga::gateway
