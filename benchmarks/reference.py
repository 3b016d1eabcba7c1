"""The rotation as one writes it by hand, with the official SDK and hvac: what rotator is measured against.

    python reference.py INPUT.json [THREADS]

INPUT.json names the provider, Vault's mount and the accounts; Vault's address, token and CA come from the usual
variables. An account's secrets are listed, a new one is created, written to Vault, read back and tried, and then the
old ones are revoked. Nothing is journalled: if the script dies between creating and writing, the new secret is lost.

The SDK's client belongs to one key and one secret, and its connection to the client. So there is a client for the old
secret and one for the new one; Vault's client is kept for all accounts.
"""

import json
import secrets
import string
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import hvac
from vonage_account import Account
from vonage_http_client.auth import Auth
from vonage_http_client.http_client import HttpClient, HttpClientOptions

ALPHABET = string.ascii_letters + string.digits
LENGTH = 25


def new_value() -> str:
    """A secret that the provider accepts."""
    while True:
        value = "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))
        if any(map(str.islower, value)) and any(map(str.isupper, value)) and any(map(str.isdigit, value)):
            return value


def rotate(vault: hvac.Client, mount: str, host: str, api_key: str, path: str) -> None:
    """Give an account a new secret."""
    kv = vault.secrets.kv.v2
    options = HttpClientOptions(api_host=host, rest_host=host, timeout=10)
    published = kv.read_secret_version(path=path, mount_point=mount, raise_on_deleted_version=True)["data"]["data"]
    before = Account(HttpClient(Auth(api_key=api_key, api_secret=published["api_secret"]), options))
    old = before.list_secrets()
    value = new_value()
    created = before.create_secret(value)
    document = {**published, "api_secret": value, "secret_id": created.id}
    kv.create_or_update_secret(path=path, mount_point=mount, secret=document)
    read = kv.read_secret_version(path=path, mount_point=mount, raise_on_deleted_version=True)["data"]["data"]
    after = Account(HttpClient(Auth(api_key=api_key, api_secret=read["api_secret"]), options))
    if created.id not in {secret.id for secret in after.list_secrets()}:
        raise SystemExit(f"{api_key}: the new secret is not listed")
    for secret in old:
        after.revoke_secret(secret.id)


def main(file: str, threads: int = 1) -> None:
    """Rotate every account, one after the other or some at once."""
    given: dict[str, Any] = json.loads(Path(file).read_text())
    host = given["provider"].removeprefix("https://")
    vault = hvac.Client()

    def one(account: dict[str, str]) -> None:
        rotate(vault, given["mount"], host, account["api_key"], account["path"])

    if threads == 1:
        for account in given["accounts"]:
            one(account)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(one, given["accounts"]))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
