#pragma once

#include <memory>
#include <utility>

#include "control_plane/control_plane.h"
#include "vault/envelope_opener.h"

namespace alga::app {

/// The broker of the control plane in this process. There is no certificate between the two: the
/// token belongs to the process.
class InProcessBroker final : public vault::SecretBroker {
 public:
  /// `plane` outlives the broker.
  explicit InProcessBroker(control_plane::ControlPlane& plane) : plane_(plane) {}
  Result<vault::BrokeredSecrets> redeem(const domain::SecretEnvelope& envelope,
                                        const domain::EnvelopeBinding& binding) override {
    auto redeemed = plane_.redeem({.token = envelope.ciphertext_b64,
                                   .tenant = binding.tenant,
                                   .install = binding.install,
                                   .version = envelope.version.value_or(""),
                                   .request_id = {}},
                                  {.id = "in-process", .certificate_sha256 = "in-process"});
    if (redeemed) {
      return vault::BrokeredSecrets{std::move(redeemed->json), std::move(redeemed->version)};
    }
    const Error& error = redeemed.error();
    const std::string why(error.code);
    if (http_status(error.kind) >= 500) {
      return fail({Kind::unavailable, "secret.broker_unavailable", why, 1});
    }
    return fail(Kind::denied, "secret.token_refused", "the broker refuses the token: " + why);
  }

 private:
  control_plane::ControlPlane& plane_;
};

/// A broker that exists once the control plane does.
class BrokerDoor final : public vault::SecretBroker {
 public:
  void open(std::unique_ptr<vault::SecretBroker> target) { target_ = std::move(target); }
  Result<vault::BrokeredSecrets> redeem(const domain::SecretEnvelope& envelope,
                                        const domain::EnvelopeBinding& binding) override {
    if (target_) return target_->redeem(envelope, binding);
    return fail(Kind::denied, "secret.no_broker", "this runner has no secret broker");
  }

 private:
  std::unique_ptr<vault::SecretBroker> target_;
};

}  // namespace alga::app
