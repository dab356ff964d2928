#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "egress/http_client.h"
#include "engine/engine.h"

namespace alga::runner {

/// `ui-proxy.call-route` over HTTP to the host application, as the reference does it, but without
/// following redirects and with a bounded answer. The host is the operator's; a guest chooses only
/// path and query below it. Thread-safe.
class HttpUiProxy final : public engine::UiProxy {
 public:
  struct Options {
    std::string base_url;  ///< without it every route is unknown
    std::chrono::milliseconds timeout{5'000};
    std::uint64_t max_response_bytes = 10U << 20U;
    egress::ClientTls tls;
  };
  /// Client and clock outlive the proxy.
  HttpUiProxy(Options options, egress::HttpClient& client, const Clock& clock);

  std::uint64_t call(Call call, Callback<std::string> done) override;
  void cancel(std::uint64_t id) override { client_.cancel(id); }

  /// The request of a call; the error is the one that call() would answer.
  [[nodiscard]] Result<egress::ClientRequest> prepare(const Call& call) const;

 private:
  Options options_;
  egress::HttpClient& client_;
  const Clock& clock_;
};

/// Path and query of a route, each segment percent-encoded once; escapes that are there stay,
/// unless they hide a dot segment, a slash, a backslash or a control character. None for a route
/// that is blank or leads elsewhere.
[[nodiscard]] std::optional<std::string> encode_route(std::string_view route);

/// What an answer of the host application is to the guest.
[[nodiscard]] Result<std::string> ui_proxy_answer(Result<domain::HttpResponse> response);

}  // namespace alga::runner
