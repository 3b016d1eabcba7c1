#!/bin/sh
# Sets Vault or OpenBao up for rotator: the KV mount, policies, roles, few versions of the journals.
#
#   VAULT_ADDR=… VAULT_TOKEN=… ./setup.sh main shop      the accounts' names, as in config.toml
#
# It may be run again at any time, also for accounts that were added. It needs a token that may do all this, once;
# rotator never gets that one. It prints no secret. Set
#   VAULT_CLI            the command to use. Default: vault, or bao if there is no vault
#   VAULT_NAMESPACE      the namespace of Vault Enterprise or OpenBao to set up
#   ROTATOR_MOUNT        the KV mount, as in vault.mount. Default: secret
#   ROTATOR_PREFIX       the folder of the published documents. Default: nexmo
#   ROTATOR_JOURNALS     the folder of the journals, as in vault.journal_prefix. Default: rotator/journal
#   ROTATOR_NAME         the name of rotator's policy, roles and service account. Default: rotator
#   ROTATOR_NAMESPACE    the Kubernetes namespace of rotator. Default: rotator
#   CONSUMER_NAME        the beginning of the names of the consumers' policies and roles: two installations in one
#                        Vault need different ones. Default: nexmo, as in nexmo-main
#   CONSUMER_NAMESPACE   the Kubernetes namespace of the consumers. Default: apps
#   SECRET_ID_FILE       a file for a new secret id of rotator, mode 0600, unless it exists. Default: none is made
#   KUBERNETES_HOST      to let service accounts log in: the API server's address as Vault sees it,
#                        https://kubernetes.default.svc if Vault runs in the same cluster
#   KUBERNETES_CA_CERT   to the file of that API server's CA, if Vault runs elsewhere. Then the service accounts of
#                        rotator and of the consumers need the ClusterRole system:auth-delegator
set -eu
here=$(cd -- "$(dirname -- "$0")" && pwd)
cli=${VAULT_CLI:-$(command -v vault || command -v bao || true)}
if [ -z "$cli" ]; then
  echo "setup.sh: there is no command vault or bao. Install one, or set VAULT_CLI." >&2
  exit 2
fi
mount=${ROTATOR_MOUNT:-secret} prefix=${ROTATOR_PREFIX:-nexmo} journals=${ROTATOR_JOURNALS:-rotator/journal}
name=${ROTATOR_NAME:-rotator} namespace=${ROTATOR_NAMESPACE:-rotator} consumers=${CONSUMER_NAMESPACE:-apps}
consumer=${CONSUMER_NAME:-nexmo}

# In a policy + and * are wildcards, and they would give more than is meant.
for part in "$mount" "$prefix" "$journals" "$name" "$namespace" "$consumers" "$consumer"; do
  case $part in
    '' | *[!A-Za-z0-9._/-]*)
      echo "setup.sh: '$part' is no name: letters, digits, '.', '_', '/' and '-' only. Nothing was changed." >&2
      exit 2
      ;;
  esac
done

for part in "$mount" "$prefix" "$journals"; do
  case /$part/ in
    *//* | */./* | */../*)
      echo "setup.sh: '$part' is no path: no part of it may be empty, '.' or '..'. Nothing was changed." >&2
      exit 2
      ;;
  esac
done
# A consumer's policy names a document below the prefix: it must never be a journal.
case $prefix/ in
  "$journals"/*)
    echo "setup.sh: ROTATOR_PREFIX $prefix is inside ROTATOR_JOURNALS $journals: consumers could read journals." \
      "Nothing was changed." >&2
    exit 2
    ;;
esac

# The output of the command is shown only if it fails.
vault() {
  if ! said=$(command "$cli" "$@" 2>&1); then
    echo "$said" >&2
    exit 1
  fi
}
# A file of this folder, with the names that were chosen.
named() {
  sed "s|\"secret/|\"$mount/|; s|/nexmo/|/$prefix/|; s|/rotator/journal/|/$journals/|;
    s|\"rotator\"|\"$name\"|; s|namespaces\": \[\"$name\"\]|namespaces\": [\"$namespace\"]|;
    s|\"apps\"|\"$consumers\"|" "$here/$1"
}

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
command "$cli" read "sys/mounts/$mount" >/dev/null 2>&1 || vault secrets enable -path="$mount" -version=2 kv
echo "mount    $mount"

named rotator-policy.hcl | vault policy write "$name" -
echo "policy   $name"

# AppRole, for hosts without an identity of their own.
command "$cli" read sys/auth/approle >/dev/null 2>&1 || vault auth enable approle
named rotator-approle.json | vault write "auth/approle/role/$name" -
echo "role     auth/approle/role/$name"

# Kubernetes: the role says which service account may be rotator.
if [ -n "${KUBERNETES_HOST:-}" ]; then
  command "$cli" read sys/auth/kubernetes >/dev/null 2>&1 || vault auth enable kubernetes
  if [ -n "${KUBERNETES_CA_CERT:-}" ]; then
    vault write auth/kubernetes/config kubernetes_host="$KUBERNETES_HOST" \
      kubernetes_ca_cert="@$KUBERNETES_CA_CERT" disable_local_ca_jwt=true
  else
    vault write auth/kubernetes/config kubernetes_host="$KUBERNETES_HOST"
  fi
  named rotator-kubernetes.json | vault write "auth/kubernetes/role/$name" -
  echo "role     auth/kubernetes/role/$name"
fi

for account in "$@"; do
  # A consumer of this account can read its document, and no other.
  named consumer-policy.hcl | sed "s|/main\"|/$account\"|" | vault policy write "$consumer-$account" -
  named consumer-approle.json | sed "s|nexmo-main|$consumer-$account|" |
    vault write "auth/approle/role/$consumer-$account" -
  if [ -n "${KUBERNETES_HOST:-}" ]; then
    named consumer-kubernetes.json | sed "s|\"nexmo-main\"|\"$consumer-$account\"|; s|\"main\"|\"$account\"|" |
      vault write "auth/kubernetes/role/$consumer-$account" -
  fi
  # Old versions of a journal hold secrets. rotator says so too when it first writes one.
  vault kv metadata put -max-versions=3 -mount="$mount" "$journals/$account"
  echo "account  $account: policy and role $consumer-$account"
done

if [ -n "${SECRET_ID_FILE:-}" ] && [ ! -s "$SECRET_ID_FILE" ]; then
  rm -f -- "$SECRET_ID_FILE"  # an empty file could have another mode
  (umask 077; command "$cli" write -f -field=secret_id "auth/approle/role/$name/secret-id" > "$SECRET_ID_FILE")
  echo "secret   $SECRET_ID_FILE: a secret id of the role $name"
fi

cat <<END

Next: the role id is vault.auth.role_id in config.toml, and the secret id goes
into the file of vault.auth.secret_id_file, which only rotator can read.
  ${cli##*/} read -field=role_id auth/approle/role/$name/role-id
  ${cli##*/} write -f -field=secret_id auth/approle/role/$name/secret-id
END
