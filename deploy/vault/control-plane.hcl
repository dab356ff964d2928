# The control plane makes envelopes and wraps the data keys under which secrets are stored. It cannot
# open an envelope once it has been made, and it cannot rotate a key.
path "transit/encrypt/alga-envelopes" {
  capabilities = ["update"]
}

path "transit/encrypt/alga-data-keys" {
  capabilities = ["update"]
}

path "transit/decrypt/alga-data-keys" {
  capabilities = ["update"]
}

# Application secrets of algad itself, where secrets.read_chain names vault: one versioned entry,
# written with check-and-set (vault.app_path).
path "kv/data/app/secrets" {
  capabilities = ["create", "read", "update"]
}

path "auth/token/renew-self" {
  capabilities = ["update"]
}

path "auth/token/lookup-self" {
  capabilities = ["read"]
}
