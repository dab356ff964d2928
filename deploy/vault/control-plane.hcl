# The control plane makes envelopes and wraps the data keys under which secrets are stored. It cannot
# open an envelope once it has been made.
path "transit/encrypt/alga-envelopes" {
  capabilities = ["update"]
}

path "transit/encrypt/alga-data-keys" {
  capabilities = ["update"]
}

path "transit/decrypt/alga-data-keys" {
  capabilities = ["update"]
}

path "transit/rewrap/alga-data-keys" {
  capabilities = ["update"]
}

# Application secrets of algad itself (signing keys and the like), through the provider chain.
path "secret/data/alga/*" {
  capabilities = ["create", "read", "update"]
}

path "secret/metadata/alga/*" {
  capabilities = ["read", "list"]
}

path "auth/token/renew-self" {
  capabilities = ["update"]
}

path "auth/token/lookup-self" {
  capabilities = ["read"]
}
