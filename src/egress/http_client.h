#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "async/task.h"
#include "base/callback.h"
#include "base/result.h"
#include "domain/http.h"
#include "domain/ports/bundle_store.h"
#include "egress/curl_loop.h"

namespace alga::egress {

/// A request of the server itself: to Vault, S3, a runner, the control plane, an identity provider.
struct ClientRequest {
  std::string method = "GET";
  std::string url;  ///< absolute, http or https; from configuration, never from a guest
  domain::Headers headers;
  std::optional<std::string> body;
  std::string body_file;  ///< instead of `body`; send_blocking() only
  std::chrono::milliseconds timeout{30'000};
  std::uint64_t max_response_bytes = 10U << 20U;
  ClientTls tls;
  /// Connects to this address in place of what the name of the URL resolves to; certificates are
  /// still held to the name. Empty: the name decides.
  std::string address;
  /// With a sink: only the body of a 2xx answer goes there, any other to HttpResponse::body.
  bool sink_success_only = false;
  /// Ends the request with `egress.cancelled` within about a second; send_blocking() only.
  std::stop_token stop;
};

/// Our own outgoing HTTP. Certificates are verified; redirects, proxies and cookies are not
/// followed or kept; connections are kept alive and never shared with guests' requests. Any status
/// is an answer. Errors: `egress.invalid_url`, `egress.invalid_request`, `egress.transport`,
/// `egress.timeout`, `egress.too_large`, `egress.cancelled`, `egress.overloaded`. Thread-safe.
class HttpClient {
 public:
  explicit HttpClient(std::shared_ptr<CurlLoop> loop);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  /// `done` runs on the loop's thread. The number is for cancel().
  std::uint64_t send(ClientRequest request, Callback<domain::HttpResponse> done);
  void cancel(std::uint64_t id) { loop_->cancel(id); }

  /// For coroutines; resumes on the caller's executor.
  [[nodiscard]] async::Task<Result<domain::HttpResponse>> fetch(ClientRequest request);

  /// Does the request on the calling thread: for the blocking pool and for main programs. A `sink`
  /// takes the body piece by piece, whatever the status (but see sink_success_only);
  /// HttpResponse::body is then absent.
  [[nodiscard]] Result<domain::HttpResponse> send_blocking(ClientRequest request,
                                                           domain::ByteSink sink = {});

 private:
  [[nodiscard]] static Result<TransferSpec> prepare(ClientRequest request);
  [[nodiscard]] CURL* borrow();
  void give_back(CURL* easy);

  const std::shared_ptr<CurlLoop> loop_;
  std::mutex mutex_;
  std::vector<CURL*> idle_;  // handles of send_blocking(); each keeps its connections
};

}  // namespace alga::egress
