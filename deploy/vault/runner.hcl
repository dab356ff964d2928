# A runner opens envelopes. It can neither make one nor read anything at rest.
path "transit/decrypt/alga-envelopes" {
  capabilities = ["update"]
}

path "auth/token/renew-self" {
  capabilities = ["update"]
}

path "auth/token/lookup-self" {
  capabilities = ["read"]
}
