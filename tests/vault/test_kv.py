"""Documents: versions, check-and-set, types, and secrets that only Vault gets to see."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from rotator.vault import (
    CasConflict,
    Document,
    VaultDenied,
)
from tests.vault.kv_mount import CANARY, KvMount, assert_silent


def never_written(document: Document) -> bool:
    """There is no such version; all that is known besides is when Vault said so."""
    unknown = Document(version=0, data=None, mount=document.mount, path=document.path)
    return document.read_at is not None and replace(document, read_at=None) == unknown


def test_read_returns_version_0_of_a_missing_document(place: KvMount) -> None:
    assert never_written(place.vault().read("apps/shop"))


def test_read_returns_json_types_as_written(place: KvMount) -> None:
    vault = place.vault()
    data = {"text": "é", "number": 7, "share": 1.5, "on": True, "none": None, "list": [1, {"a": []}], "deep": {"b": 2}}
    assert vault.write("apps/shop", data, cas=0) == 1
    document = vault.read("apps/shop")
    assert document.data == data
    assert {key: type(value) for key, value in document.data.items()} == {key: type(data[key]) for key in data}
    assert document.created is not None
    assert abs(document.created - datetime.now(UTC)) < timedelta(minutes=1)


def test_write_reveals_secrets_to_vault_only(place: KvMount) -> None:
    vault = place.vault()
    data = {"api_secret": SecretStr(CANARY), "deep": [{"secret": SecretStr(CANARY)}]}
    vault.write("apps/shop", data, cas=0)
    document = vault.read("apps/shop")
    assert document.data == {"api_secret": CANARY, "deep": [{"secret": CANARY}]}
    assert CANARY not in repr(document) + str(document) + repr(data)


def test_write_refuses_a_value_that_is_not_json(place: KvMount) -> None:
    vault = place.vault()
    with pytest.raises(TypeError, match="cannot contain a datetime"):
        vault.write("apps/shop", {"at": datetime.now(UTC)}, cas=0)
    assert vault.read("apps/shop").version == 0


def test_read_returns_an_older_version(place: KvMount) -> None:
    vault = place.vault()
    vault.write("apps/shop", {"n": 1}, cas=0)
    vault.write("apps/shop", {"n": 2}, cas=1)
    assert vault.read("apps/shop", 1).data == {"n": 1}
    assert never_written(vault.read("apps/shop", 9))


@pytest.mark.parametrize("how", ["delete", "destroy"])
def test_write_replaces_a_version_without_data(place: KvMount, how: str) -> None:
    vault = place.vault()
    vault.write("apps/shop", {"n": 1}, cas=0)
    place.admin("POST", f"{place.mount}/{how}/apps/shop", {"versions": [1]})
    document = vault.read("apps/shop")
    assert (document.version, document.data) == (1, None)
    assert vault.write("apps/shop", {"n": 2}, cas=1) == 2


def test_deleted_metadata_leaves_version_0(place: KvMount) -> None:
    vault = place.vault()
    vault.write("apps/shop", {"n": 1}, cas=0)
    place.admin("DELETE", vault.metadata_path("apps/shop"))
    document = vault.read("apps/shop")
    assert (document.version, document.data, document.vanished) == (0, None, True)
    assert never_written(place.vault().read("apps/shop")), "another session does not know it"
    assert vault.write("apps/shop", {"n": 2}, cas=0) == 1


def test_write_succeeds_when_the_mount_requires_cas(place: KvMount) -> None:
    place.admin("POST", f"{place.mount}/config", {"cas_required": True})
    assert place.vault().write("apps/shop", {"n": 1}, cas=0) == 1


@pytest.mark.parametrize("cas", [0, 1, 3])
def test_write_over_another_version_is_a_conflict(place: KvMount, cas: int) -> None:
    vault = place.vault()
    vault.write("apps/shop", {"n": 1}, cas=0)
    vault.write("apps/shop", {"n": 2}, cas=1)
    with pytest.raises(CasConflict) as caught:
        vault.write("apps/shop", {"api_secret": SecretStr(CANARY)}, cas=cas)
    assert caught.value.path == "apps/shop"
    assert_silent(caught.value, CANARY, place.bao.root_token)
    assert (vault.read("apps/shop").version, vault.read("apps/shop").data) == (2, {"n": 2})


def test_diagnosis_ignores_server_words_in_a_path(place: KvMount) -> None:
    token = place.limited(f'path "{place.mount}/data/other" {{ capabilities = ["read"] }}')
    with pytest.raises(VaultDenied):
        place.vault(auth={"token": token}).write("check-and-set/sealed", {}, cas=0)


def test_write_succeeds_for_one_of_two_threads(place: KvMount) -> None:
    vault = place.vault()
    for round_ in range(5):
        barrier = threading.Barrier(2)

        def attempt(who: str, round_: int = round_, barrier: threading.Barrier = barrier) -> int | None:
            barrier.wait()
            try:
                return vault.write("apps/shop", {"who": who, "round": round_}, cas=round_)
            except CasConflict:
                return None

        with ThreadPoolExecutor(2) as pool:
            versions = list(pool.map(attempt, ["a", "b"]))
        assert sorted(versions, key=str) == sorted([round_ + 1, None], key=str)
        winner = "a" if versions[0] else "b"
        assert vault.read("apps/shop").data == {"who": winner, "round": round_}


def test_keep_versions_limits_versions_if_allowed(place: KvMount) -> None:
    vault = place.vault()
    vault.write("few", {"n": 0}, cas=0)
    assert vault.keep_versions("few", 2)
    for cas in (1, 2, 3):
        vault.write("few", {"n": cas}, cas=cas)
    assert vault.read("few", 3).data == {"n": 2}
    assert vault.read("few", 1).data is None
    rules = f'path "{place.mount}/data/*" {{ capabilities = ["create", "read", "update"] }}'
    limited = place.vault(auth={"token": place.limited(rules)})
    assert not limited.keep_versions("few", 1)
    assert limited.write("few", {"n": 4}, cas=4) == 5
