#!/bin/sh
# What compose.yaml's OpenBao needs once: setup.sh VAULT_FOLDER CREDENTIALS_FOLDER. May be run again.
set -eu
export VAULT_CLI=bao

"$1/setup.sh" main shop

# A role id of one's own choice, so that rotator.toml can name it; the secret id is what has to stay secret.
bao write auth/approle/role/rotator/role-id role_id=rotator
bao write -f -field=secret_id auth/approle/role/rotator/secret-id >"$2/vault-secret-id"
chmod 644 "$2/vault-secret-id" # the volume is rotator's alone, and its user is not known here

# The account main as it is before rotator: its secret is in Vault. rotator adopts it, and brings shop in through it.
bao kv get -mount=secret nexmo/main >/dev/null 2>&1 ||
  printf '{"api_key": "abcd1234", "api_secret": "First0Secret"}' | bao kv put -mount=secret nexmo/main -
