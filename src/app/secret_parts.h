#pragma once

#include <memory>

#include "app/brokers.h"
#include "domain/ports/envelope_sealer.h"
#include "vault/envelope_keys.h"
#include "vault/keeper.h"
#include "vault/transport.h"
#include "vault/vault_client.h"
#include "vault/vault_engines.h"

namespace alga::app {

/// Vault as far as the configuration names one, and what makes and opens envelopes.
struct SecretParts {
  std::unique_ptr<vault::Transport> transport;  ///< null without vault.address, like the next two
  std::unique_ptr<vault::VaultClient> client;
  std::unique_ptr<vault::VaultTransit> transit;
  std::unique_ptr<vault::EnvelopeKeys> ring;
  std::unique_ptr<domain::EnvelopeSealer> sealer;  ///< null where no envelopes are made
  BrokerDoor broker;                               ///< opened where there is a broker
  std::unique_ptr<vault::Keeper> keeper;
};

}  // namespace alga::app
