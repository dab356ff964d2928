# Whoever rotates keys can do that and nothing else. `algad keys rotate` wraps the data keys again
# and therefore needs control-plane.hcl as well.
path "transit/keys/alga-envelopes/rotate" {
  capabilities = ["update"]
}

path "transit/keys/alga-data-keys/rotate" {
  capabilities = ["update"]
}

# To raise min_decryption_version once nothing needs the older versions.
path "transit/keys/alga-envelopes/config" {
  capabilities = ["update"]
}

path "transit/keys/alga-data-keys/config" {
  capabilities = ["update"]
}

# The newest version and its number.
path "transit/keys/alga-envelopes" {
  capabilities = ["read"]
}

path "transit/keys/alga-data-keys" {
  capabilities = ["read"]
}
