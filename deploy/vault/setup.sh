#!/bin/sh
# Sets Vault or OpenBao up for rotator: the KV mount, policies, roles, few versions of the journals.
#
#   VAULT_ADDR=… VAULT_TOKEN=… ./setup.sh main shop      the accounts' names, as in config.toml
#
# It may be run again at any time, also for accounts that were added. It needs a token that may do all this, once;
# rotator never gets that one. Set
#   VAULT_CLI            to bao, if OpenBao's command is the one you have
#   KUBERNETES_HOST      to let service accounts log in: the API server's address as Vault sees it,
#                        https://kubernetes.default.svc if Vault runs in the same cluster
#   KUBERNETES_CA_CERT   to the file of that API server's CA, if Vault runs elsewhere. Then the service accounts of
#                        rotator and of the consumers need the ClusterRole system:auth-delegator
set -eu
here=$(cd -- "$(dirname -- "$0")" && pwd)
vault() { command "${VAULT_CLI:-vault}" "$@"; }

# In a policy, + and * stand for other names: such a policy would reach documents of other accounts.
for account in "$@"; do
  case $account in
    '' | . | .. | *[!A-Za-z0-9._-]*)
      echo "setup.sh: '$account' is no name of an account: letters, digits, '.', '_' and '-' only. Nothing was changed." >&2
      exit 2
      ;;
  esac
done

# The documents live in a KV version 2 mount: only there a write can name the version that it replaces.
vault read sys/mounts/secret >/dev/null 2>&1 || vault secrets enable -path=secret -version=2 kv

vault policy write rotator "$here/rotator-policy.hcl"

# AppRole, for hosts without an identity of their own. No secret id is made here, see below.
vault read sys/auth/approle >/dev/null 2>&1 || vault auth enable approle
vault write auth/approle/role/rotator "@$here/rotator-approle.json"

# Kubernetes: the role says which service account may be rotator.
if [ -n "${KUBERNETES_HOST:-}" ]; then
  vault read sys/auth/kubernetes >/dev/null 2>&1 || vault auth enable kubernetes
  if [ -n "${KUBERNETES_CA_CERT:-}" ]; then
    vault write auth/kubernetes/config kubernetes_host="$KUBERNETES_HOST" \
      kubernetes_ca_cert="@$KUBERNETES_CA_CERT" disable_local_ca_jwt=true
  else
    vault write auth/kubernetes/config kubernetes_host="$KUBERNETES_HOST"
  fi
  vault write auth/kubernetes/role/rotator "@$here/rotator-kubernetes.json"
fi

for account in "$@"; do
  # Who consumes this account may read its document, and no other.
  sed "s|nexmo/main|nexmo/$account|" "$here/consumer-policy.hcl" | vault policy write "nexmo-$account" -
  sed "s|nexmo-main|nexmo-$account|" "$here/consumer-approle.json" | vault write "auth/approle/role/nexmo-$account" -
  if [ -n "${KUBERNETES_HOST:-}" ]; then
    sed "s|\"nexmo-main\"|\"nexmo-$account\"|; s|\"main\"|\"$account\"|" "$here/consumer-kubernetes.json" |
      vault write "auth/kubernetes/role/nexmo-$account" -
  fi
  # Old versions of a journal hold secrets. rotator says so too when it first writes one.
  vault kv metadata put -max-versions=3 -mount=secret "rotator/journal/$account"
done

cat <<END

Done. rotator logs in with AppRole like this, and reads the secret id from a file that only it can read:
  ${VAULT_CLI:-vault} read -field=role_id auth/approle/role/rotator/role-id              # config.toml: vault.auth.role_id
  ${VAULT_CLI:-vault} write -f -field=secret_id auth/approle/role/rotator/secret-id      # vault.auth.secret_id_file
Then: rotator check
END
