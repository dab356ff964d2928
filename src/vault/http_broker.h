#pragma once

#include <chrono>
#include <string>

#include "egress/http_client.h"
#include "vault/envelope_opener.h"

namespace alga::vault {

/// The secrets broker of a control plane in another process, over mutual TLS. The answer is sealed
/// to a key that exists for one redemption, so that no buffer on its way holds the secrets in
/// clear.
class HttpBroker final : public SecretBroker {
 public:
  struct Options {
    std::string url;        ///< of the control plane's internal listener
    egress::ClientTls tls;  ///< with the runner's certificate
    std::chrono::milliseconds timeout{5'000};
  };
  /// `client` outlives the object.
  HttpBroker(Options options, egress::HttpClient& client);

  Result<BrokeredSecrets> redeem(const domain::SecretEnvelope& envelope,
                                 const domain::EnvelopeBinding& binding) override;

 private:
  Options options_;
  egress::HttpClient& client_;
};

}  // namespace alga::vault
