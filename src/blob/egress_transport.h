#pragma once

#include <stop_token>

#include "blob/object_transport.h"
#include "egress/http_client.h"

namespace alga::blob {

/// Object servers over our own HTTP client.
class EgressTransport final : public ObjectTransport {
 public:
  /// `client` outlives the transport. `tls` names the authority and client certificate, if any.
  explicit EgressTransport(egress::HttpClient& client, egress::ClientTls tls = {})
      : client_(client), tls_(std::move(tls)) {}

  Result<ObjectResponse> send(const ObjectRequest& request, std::uint64_t max_bytes,
                              domain::ByteSink& sink) override;
  void abort() noexcept override { stop_.request_stop(); }
  [[nodiscard]] bool is_aborted() const noexcept override { return stop_.stop_requested(); }

 private:
  egress::HttpClient& client_;
  std::stop_source stop_;
  egress::ClientTls tls_;
};

}  // namespace alga::blob
