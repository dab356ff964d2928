#include "vault/egress_transport.h"

namespace alga::vault {

Result<domain::HttpResponse> EgressTransport::send(const domain::HttpRequest& request,
                                                   std::chrono::milliseconds timeout) {
  auto response = client_.send_blocking({.method = request.method,
                                         .url = request.url,
                                         .headers = request.headers,
                                         .body = request.body,
                                         .timeout = timeout,
                                         .max_response_bytes = 2U << 20U,
                                         .tls = tls_});
  if (response) return response;
  return fail({Kind::unavailable, "vault.unavailable",
               std::string(response.error().code) + ": " + response.error().message, 1});
}

}  // namespace alga::vault
