#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "egress/http_client.h"
#include "httpd/message.h"

namespace alga::gateway {

/// Shows the pages of extensions under `/runner/ext-ui/…`, where the earlier gateway showed them,
/// when runners are other processes: their answer goes on as it is. Nothing else of a runner can be
/// reached through it. Of the caller's headers a runner sees those that choose a representation,
/// and who the tenant is; of the runner's a caller sees those that belong to a page. Nobody is
/// authenticated, as pages are public (docs/adr/0010). Thread-safe.
class PageRelay final {
 public:
  struct Options {
    std::string url;  ///< of the runner or of what balances them, without a slash at its end
    egress::ClientTls tls;
    std::chrono::milliseconds timeout{10'000};
    std::uint64_t max_bytes = 64U << 20U;  ///< of one file
  };
  /// `client` outlives the relay, the relay the router.
  PageRelay(Options options, egress::HttpClient& client);

  void add_routes(httpd::Router& router);

 private:
  async::Task<httpd::Response> relay(httpd::Request request);

  const Options options_;
  egress::HttpClient& client_;
};

}  // namespace alga::gateway
