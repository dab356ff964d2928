#pragma once

#include "egress/http_client.h"
#include "vault/transport.h"

namespace alga::vault {

/// Vault over our own HTTP client.
class EgressTransport final : public Transport {
 public:
  /// `client` outlives the transport. `tls` names Vault's authority (`VAULT_CACERT`), if it is not
  /// one of the system's.
  explicit EgressTransport(egress::HttpClient& client, egress::ClientTls tls = {})
      : client_(client), tls_(std::move(tls)) {}

  Result<domain::HttpResponse> send(const domain::HttpRequest& request,
                                    std::chrono::milliseconds timeout) override;

 private:
  egress::HttpClient& client_;
  egress::ClientTls tls_;
};

}  // namespace alga::vault
