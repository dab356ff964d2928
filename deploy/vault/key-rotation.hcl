# Whoever rotates keys can do only that.
path "transit/keys/alga-envelopes/rotate" {
  capabilities = ["update"]
}

path "transit/keys/alga-data-keys/rotate" {
  capabilities = ["update"]
}

path "transit/keys/alga-envelopes/config" {
  capabilities = ["update"]
}

path "transit/keys/alga-data-keys/config" {
  capabilities = ["update"]
}

path "transit/keys/+" {
  capabilities = ["read"]
}
