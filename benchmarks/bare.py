"""The HTTP calls of one of rotator's rotations and nothing else, with httpx and hvac: the least that Python needs.

    python bare.py INPUT.json

INPUT.json is the one of reference.py. These are the requests of `rotator rotate-now` without grace, in its order;
tests/benchmarks/test_calls.py checks that. Nothing is checked or decided, and of an answer only the parts are read that
the next request needs.
"""

import json
import secrets
import ssl
import sys
from pathlib import Path
from typing import Any

import httpx
import hvac

# A journal with rotator's fields and of its size; what rotator writes differs from call to call, this does not.
JOURNAL: dict[str, Any] = {
    "api_key": "abcd1234",
    "current_id": {
        "id": "9ad63775-925e-405a-a1c0-e41bf4308da6",
        "learned": "answered",
        "beside": ["4e3d28cb-5a35-4a0d-9c0c-2f1f0a0e8f7c", "9ad63775-925e-405a-a1c0-e41bf4308da6"],
    },
    "rotated_at": "2026-11-24T15:16:15.422727Z",
    "published_version": 2,
    "published_at": "2026-11-24T15:16:15.422727Z",
    "rotation_id": "ed10cc1b2871e77f",
    "trigger": "manual",
    "request": None,
    "candidate": None,
    "candidate_id": None,
    "verification": None,
    "ids_before": [],
    "create_until": None,
    "publishing": None,
    "retiring": [],
    "added_ids": [],
    "gone": [{"id": "4e3d28cb-5a35-4a0d-9c0c-2f1f0a0e8f7c", "at": "2026-11-24T15:16:16.422727Z"}],
    "holder": None,
    "lease_until": None,
    "attempts": 0,
    "next_attempt_at": None,
    "last_error": None,
    "failure": None,
    "ambiguity": None,
    "unknown_ids": [],
    "strangers": None,
    "format": 1,
    "phase": "idle",
}


def rotate(vault: hvac.Client, mount: str, provider: httpx.Client, *, name: str, api_key: str, path: str) -> None:
    """Send one account's calls."""
    kv = vault.secrets.kv.v2
    secrets_path = f"/accounts/{api_key}/secrets"

    def read(document: str) -> Any:
        return kv.read_secret_version(path=document, mount_point=mount, raise_on_deleted_version=True)["data"]

    def write(document: str, data: dict[str, Any], cas: int) -> int:
        written = kv.create_or_update_secret(path=document, mount_point=mount, secret=data, cas=cas)
        return int(written["data"]["version"])

    journal_path = f"rotator/journal/{name}"
    version = read(journal_path)["metadata"]["version"]
    published = read(path)
    old = (api_key, published["data"]["api_secret"])
    value = f"Aa1{secrets.token_hex(11)}"
    new = (api_key, value)
    [listed] = provider.get(secrets_path, auth=old).json()["_embedded"]["secrets"]
    version = write(journal_path, {**JOURNAL, "candidate": value}, version)
    created = provider.post(secrets_path, auth=old, json={"secret": value}).json()
    provider.get(secrets_path, auth=new).json()
    document = {**published["data"], "api_secret": value, "secret_id": created["id"]}
    write(path, document, published["metadata"]["version"])
    read(path)
    version = write(journal_path, JOURNAL, version)
    provider.get(secrets_path, auth=new).json()
    read(path)
    provider.delete(f"{secrets_path}/{listed['id']}", auth=new)
    write(journal_path, JOURNAL, version)


def main(file: str) -> None:
    """Send the calls that a process begins with, then every account's, one account after the other."""
    given: dict[str, Any] = json.loads(Path(file).read_text())
    mount, vault = given["mount"], hvac.Client()
    vault.auth.token.lookup_self()
    names, paths = zip(*((account["name"], account["path"]) for account in given["accounts"]), strict=True)
    documents = [f"{mount}/data/{document}" for document in (*paths, *(f"rotator/journal/{name}" for name in names))]
    vault.adapter.post("/v1/sys/capabilities-self", json={"paths": documents})
    vault.adapter.get(f"/v1/sys/internal/ui/mounts/{mount}")
    context = ssl.create_default_context() if given["provider"].startswith("https:") else False
    with httpx.Client(base_url=given["provider"], verify=context) as provider:
        for account in given["accounts"]:
            rotate(vault, mount, provider, **account)


if __name__ == "__main__":
    main(sys.argv[1])
