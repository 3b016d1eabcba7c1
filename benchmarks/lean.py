"""A rotation in as few requests as a script by hand needs: one pooled httpx client, hvac, no journal, no check.

    python lean.py INPUT.json [THREADS]

INPUT.json is the one of reference.py. All accounts share the connections. In reference.py, the SDK connects for each
account. An account takes 7 requests: the script reads the published secret, lists, creates, writes, reads back, tries
the new secret and revokes the previous ones. If the script dies between create and write, the new secret is lost.
"""

import json
import secrets
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import hvac


def rotate(vault: hvac.Client, mount: str, provider: httpx.Client, *, api_key: str, path: str) -> None:
    """Give an account a new secret."""
    kv, url = vault.secrets.kv.v2, f"/accounts/{api_key}/secrets"
    published = kv.read_secret_version(path=path, mount_point=mount, raise_on_deleted_version=True)["data"]["data"]
    old = (api_key, published["api_secret"])
    listed = provider.get(url, auth=old).raise_for_status().json()["_embedded"]["secrets"]
    value = f"Aa1{secrets.token_hex(11)}"
    created = provider.post(url, auth=old, json={"secret": value}).raise_for_status().json()
    document = {**published, "api_secret": value, "secret_id": created["id"]}
    kv.create_or_update_secret(path=path, mount_point=mount, secret=document)
    read = kv.read_secret_version(path=path, mount_point=mount, raise_on_deleted_version=True)["data"]["data"]
    new = (api_key, read["api_secret"])
    provider.get(url, auth=new).raise_for_status()
    for secret in listed:
        provider.delete(f"{url}/{secret['id']}", auth=new).raise_for_status()


def main(file: str, threads: int = 1) -> None:
    """Rotate every account, one after the other or several at once."""
    given: dict[str, Any] = json.loads(Path(file).read_text())
    vault = hvac.Client()
    with httpx.Client(base_url=given["provider"]) as provider, ThreadPoolExecutor(threads) as pool:

        def one(account: dict[str, str]) -> None:
            rotate(vault, given["mount"], provider, api_key=account["api_key"], path=account["path"])

        list(pool.map(one, given["accounts"]))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
