"""The mount of the documents: a failure of all of them is told from one of a single document."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from rotator.vault import MountReplaced, VaultDenied, WrongMount
from rotator.vault.mount import Mount
from rotator.vault.time_limit import TimeLimit
from testkit.proxy import Answer, FaultProxy
from tests.vault.kv_mount import NUMBERS, KvMount, first, paths

DENIED = Answer(403, b'{"errors": ["1 error occurred:\\n\\t* permission denied\\n\\n"]}')


def replace_mount(place: KvMount, version: str = "2") -> None:
    """Put an empty mount into the place of this one."""
    place.admin("DELETE", f"sys/mounts/{place.mount}")
    place.admin("POST", f"sys/mounts/{place.mount}", {"type": "kv", "options": {"version": version}})


def test_policy_without_the_mount_is_a_wrong_mount(place: KvMount) -> None:
    """Vault does not say whether the mount or the policy is wrong, so the message names both."""
    policy = f"p{next(NUMBERS)}"
    rules = 'path "{}/data/*" {{ capabilities = ["create", "read", "update"] }}'
    place.admin.policy(policy, rules.format(place.mount))
    vault = place.vault(auth={"token": place.admin.token(policy)})
    vault.write("apps/shop", {"n": 1}, cas=0)
    place.admin.policy(policy, rules.format("other"))
    with pytest.raises(WrongMount, match="does not exist, or the policy of rotator's token lacks it"):
        vault.read("apps/shop")
    with pytest.raises(WrongMount, match="Nothing was written"):
        vault.write("apps/shop", {"n": 2}, cas=1)
    place.admin.policy(policy, rules.format(place.mount))
    assert vault.write("apps/shop", {"n": 2}, cas=1) == 2


def test_policy_without_one_path_denies_that_path(place: KvMount) -> None:
    vault = place.vault(auth={"token": place.limited(f'path "{place.mount}/data/a" {{ capabilities = ["read"] }}')})
    assert vault.read("a").version == 0
    with pytest.raises(VaultDenied, match=f"read {place.mount}/data/b"):
        vault.read("b")


def test_policy_that_is_back_denies_nothing(place: KvMount, proxy: FaultProxy) -> None:
    vault = place.vault(address=proxy.address)
    assert vault.write("apps/shop", {"n": 1}, cas=0) == 1
    proxy.on_request = first("GET", DENIED)
    assert vault.read("apps/shop").version == 1
    assert sum("/ui/mounts/" in path for path in paths(proxy)) == 1


@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
def test_mount_of_another_kind_is_no_missing_document(place: KvMount, known: bool) -> None:
    vault = place.vault()
    if known:
        vault.write("apps/shop", {"n": 1}, cas=0)
    replace_mount(place, version="1")
    with pytest.raises(WrongMount, match="KV version 1"):
        vault.read("apps/shop")


def test_replaced_mount_needs_the_known_documents(place: KvMount) -> None:
    vault = place.vault()
    vault.check_mount()
    vault.write("apps/shop", {"n": 1}, cas=0)
    replace_mount(place)
    for ask in (vault.check_mount, lambda: vault.read("apps/shop")):
        with pytest.raises(MountReplaced, match="was replaced by another one, which lacks apps/shop"):
            ask()
    place.vault().write("apps/shop", {"n": 1}, cas=0)
    vault.check_mount()
    assert vault.read("apps/shop").version == 1


def test_replaced_mount_is_accepted_without_known_documents(place: KvMount) -> None:
    vault = place.vault()
    vault.check_mount()
    replace_mount(place)
    vault.check_mount()
    assert not vault.read("apps/shop").vanished


def test_document_that_was_there_before_vanished(place: KvMount) -> None:
    vault = place.vault()
    vault.write("apps/shop", {"n": 1}, cas=0)
    place.admin("DELETE", f"{place.mount}/metadata/apps/shop")
    assert (vault.read("apps/shop").version, vault.read("apps/shop").vanished) == (0, True)
    vault.write("apps/shop", {"n": 1}, cas=0)
    assert not vault.read("apps/shop").vanished


def test_new_document_is_examined_once_in_a_session(place: KvMount, proxy: FaultProxy) -> None:
    vault = place.vault(address=proxy.address)
    assert not vault.read("apps/a").vanished
    assert not vault.read("apps/b").vanished
    assert sum("/ui/mounts/" in path for path in paths(proxy)) == 1


def test_one_examination_serves_all_threads_that_wait() -> None:
    """The first one began before the others asked, so that it says nothing about their failures."""
    asked = threading.Semaphore(0)
    examinations: list[int] = []
    instants = iter(range(1000))

    def monotonic() -> float:
        asked.release()
        return next(instants)

    def find(limit: TimeLimit) -> str:
        if not examinations:
            for _ in range(2 + 7):  # the first thread looks twice
                assert asked.acquire(timeout=60)
        examinations.append(1)
        return "kv_1"

    mount = Mount(
        "secret", find=find, contains=lambda path, limit: False, is_throttled=lambda: False, monotonic=monotonic
    )
    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(mount.examine, TimeLimit(60.0)) for _ in range(8)]:
            future.result()
    assert len(examinations) == 2
