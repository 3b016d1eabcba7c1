# What rotator may do in Vault, and nothing else. Its roles leave the policy "default" out, so what rotator needs for
# its own token stands here as well. Another mount, or accounts below another path: change it here and in config.toml.

# The published documents. A rotation writes a new version; earlier ones are read when the newest does not work.
path "secret/data/nexmo/*" {
  capabilities = ["create", "read", "update"]
}

# The journals: what rotator remembers between runs. Nobody else needs them.
path "secret/data/rotator/journal/*" {
  capabilities = ["create", "read", "update"]
}

# Old versions of a journal hold secrets: rotator may say that few are kept. It may not let versions expire.
path "secret/metadata/rotator/journal/*" {
  capabilities       = ["create", "update"]
  allowed_parameters = { "max_versions" = [], "delete_version_after" = ["0s"] }
}

# Before it writes anything, rotator asks whether it may write all of it.
path "sys/capabilities-self" {
  capabilities = ["update"]
}

# How long its token lasts, and whether it still does.
path "auth/token/lookup-self" {
  capabilities = ["read"]
}

# The same token for longer: otherwise there is a login each time.
path "auth/token/renew-self" {
  capabilities = ["update"]
}
