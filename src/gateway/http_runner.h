#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "base/secret.h"
#include "domain/ports/runner.h"
#include "egress/http_client.h"
#include "json/parse.h"

namespace alga::gateway {

/// The body of `POST /v1/execute`. `http.headers` and `http.query` are the reference's maps (the
/// last of repeated names wins, as there); beside them stand `http.url` with the query as it came
/// and `http.header_list`, pairs in order, which our runner prefers.
[[nodiscard]] json::Value execute_request_to_json(const domain::ExecuteRequest& request);

/// The answer of `/v1/execute`, of our runner or of the reference's. Unknown members are ignored.
/// Error: `runner.malformed_answer`.
[[nodiscard]] Result<domain::ExecuteResponse> execute_response_from_json(const json::Value& value);

/// Runs extensions on runners of other processes. Connections are kept. A runner that cannot be
/// reached, answers nonsense or refuses us is an ExecuteResponse with a `runner.*` code. Nothing is
/// sent twice, because a guest may have run, but for what a runner refuses because it is about to
/// end: another one takes it. Thread-safe.
class HttpRunner final : public domain::Runner {
 public:
  struct Options {
    std::string url;  ///< of the runner or of what balances them: `http://runner:8080`
    /// `x-runner-service-token`; asked for each request, so that a rotated token is used at once.
    /// May be empty.
    std::function<Result<Secret>()> service_token;
    egress::ClientTls tls;
    /// What queueing and the network may add to the limit of the request.
    std::chrono::milliseconds grace{10'000};
    std::uint64_t max_response_bytes = 96U << 20U;  ///< 64 MiB of body in base64 and its headers
  };
  /// `client` outlives the runner.
  HttpRunner(Options options, egress::HttpClient& client);

  async::Task<domain::ExecuteResponse> execute(domain::ExecuteRequest request) override;

 private:
  Result<egress::ClientRequest> prepare(const domain::ExecuteRequest& request) const;
  /// One attempt; `request` outlives it.
  async::Task<domain::ExecuteResponse> send(const domain::ExecuteRequest* request);
  Options options_;
  egress::HttpClient& client_;
};

}  // namespace alga::gateway
