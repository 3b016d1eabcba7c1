"""Stale reads of a server or a cache: rotator neither accepts them nor takes them for a conflict."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from rotator.vault import CasConflict, Vault, VaultUnreachable
from testkit.proxy import FORWARD, Action, Answer, Call, FaultProxy
from tests.vault.kv_mount import KvMount, Stopwatch, documents

PAST = r"returns an older version of apps/shop .* no cache is in front of"


class Cache:
    """Answers each read of the newest version as it did when it was told to remember."""

    def __init__(self, place: KvMount) -> None:
        self.place = place
        self.remembered: Answer | None = None
        self.recording = self.active = False

    def remember(self, vault: Vault) -> None:
        """Remember what a read answers now."""
        self.recording = True
        vault.read("apps/shop")
        self.recording = False

    def record(self, call: Call, answer: Answer) -> Action | Answer:
        if self.recording and self.is_read(call):
            self.remembered = answer
        return FORWARD

    def answer(self, call: Call) -> Action | Answer:
        return self.remembered if self.active and self.remembered and self.is_read(call) else FORWARD

    @staticmethod
    def is_read(call: Call) -> bool:
        return call.method == "GET" and "/data/" in call.path and "version=" not in call.path


@pytest.fixture
def cache(place: KvMount) -> Cache:
    return Cache(place)


@pytest.fixture
def proxy(place: KvMount, cache: Cache) -> Iterator[FaultProxy]:
    with FaultProxy(place.bao.address, cache.answer, cache.record).running() as running:
        yield running


def test_read_older_than_a_write_is_refused(place: KvMount, cache: Cache, proxy: FaultProxy) -> None:
    vault = place.vault(address=proxy.address)
    vault.write("apps/shop", {"n": 1}, cas=0)
    cache.remember(vault)
    vault.write("apps/shop", {"n": 2}, cas=1)
    cache.active = True
    with pytest.raises(VaultUnreachable, match=PAST):
        vault.read("apps/shop")
    cache.active = False
    assert vault.read("apps/shop").version == 2


def lowered(answer: Answer) -> Answer:
    """The same document, with the number of the version before and nothing else of it."""
    body = json.loads(answer.body)
    body["data"]["metadata"]["version"] -= 1
    return Answer(answer.status, json.dumps(body).encode(), answer.headers)


def test_read_older_than_another_read_is_refused(place: KvMount, cache: Cache, proxy: FaultProxy) -> None:
    """Another writer wrote both versions. The error says nothing of a write."""
    other, vault = place.vault(), place.vault(address=proxy.address)
    other.write("apps/shop", {"n": 1}, cas=0)
    cache.remember(vault)
    other.write("apps/shop", {"n": 2}, cas=1)
    assert vault.read("apps/shop").version == 2
    cache.active = True
    with pytest.raises(VaultUnreachable, match=PAST) as caught:
        vault.read("apps/shop")
    assert (caught.value.maybe_done, caught.value.unchanged) == (False, "")


def test_reads_stay_at_newest_version_of_two_servers(place: KvMount, proxy: FaultProxy) -> None:
    """A balancer sends every second read to a server that lags behind."""
    place.vault().write("apps/shop", {"n": 1}, cas=0)
    place.vault().write("apps/shop", {"n": 2}, cas=1)
    vault = place.vault(address=proxy.address)
    proxy.on_response = lambda call, answer: lowered(answer) if Cache.is_read(call) and call.index % 2 else FORWARD
    assert [vault.read("apps/shop").version for _ in range(5)] in ([2] * 5, [1, *[2] * 4])


def test_earlier_version_is_not_taken_from_a_cache(place: KvMount, cache: Cache, proxy: FaultProxy) -> None:
    """A cache that ignores the query answers with the newest version in place of the one that was asked for."""
    vault = place.vault(address=proxy.address)
    vault.write("apps/shop", {"n": 1}, cas=0)
    vault.write("apps/shop", {"n": 2}, cas=1)
    cache.remember(vault)
    proxy.on_request = lambda call: cache.remembered or FORWARD if "version=1" in call.path else FORWARD
    with pytest.raises(VaultUnreachable, match="is not one of Vault's"):
        vault.read("apps/shop", 1)


def test_read_that_lags_for_a_moment_is_repeated(place: KvMount, cache: Cache, proxy: FaultProxy) -> None:
    vault = place.vault(address=proxy.address)
    vault.write("apps/shop", {"n": 1}, cas=0)
    cache.remember(vault)
    vault.write("apps/shop", {"n": 2}, cas=1)
    seen = len(proxy.calls)
    proxy.on_request = lambda call: cache.remembered or FORWARD if call.index < seen + 2 else FORWARD
    assert vault.read("apps/shop").version == 2


@pytest.mark.parametrize("known", [1, 3])
def test_old_version_after_a_conflict_is_no_conflict(
    place: KvMount, cache: Cache, proxy: FaultProxy, known: int
) -> None:
    """Another writer was first, but what is read is the version before, or one long before."""
    other, vault = place.vault(), place.vault(address=proxy.address)
    for n in range(known):
        other.write("apps/shop", {"n": n}, cas=n)
    cache.remember(vault)
    cache.active = True
    for n in range(known, 4):
        other.write("apps/shop", {"n": n}, cas=n)
    with pytest.raises(VaultUnreachable, match=PAST):
        vault.write("apps/shop", {"n": 9}, cas=3)
    assert other.read("apps/shop").data == {"n": 3}


def test_document_deleted_and_written_again_is_a_conflict(place: KvMount) -> None:
    """Its number is lower, too, but it is newer."""
    vault = place.vault()
    for n in range(3):
        vault.write("apps/shop", {"n": n}, cas=n)
    place.admin("DELETE", vault.metadata_path("apps/shop"))
    place.admin("POST", vault.data_path("apps/shop"), {"data": {"n": 9}})
    with pytest.raises(CasConflict):
        vault.write("apps/shop", {"n": 10}, cas=3)
    assert vault.read("apps/shop").version == 1


def test_deleted_document_is_a_conflict(place: KvMount) -> None:
    vault = place.vault()
    vault.write("apps/shop", {"n": 1}, cas=0)
    place.admin("DELETE", vault.metadata_path("apps/shop"))
    with pytest.raises(CasConflict):
        vault.write("apps/shop", {"n": 2}, cas=1)


def test_restored_snapshot_is_read_after_five_minutes(place: KvMount, cache: Cache, proxy: FaultProxy) -> None:
    stopwatch = Stopwatch()
    vault = place.vault(address=proxy.address, monotonic=stopwatch)
    vault.write("apps/shop", {"n": 1}, cas=0)
    cache.remember(vault)
    vault.write("apps/shop", {"n": 2}, cas=1)
    cache.active = True
    stopwatch.advance(301)
    assert vault.read("apps/shop").version == 1


def answered(version: object) -> Answer:
    """The answer to another write, from a cache."""
    data: dict[str, Any] = {"version": version, "created_time": "2026-01-01T00:00:00Z", "deletion_time": ""}
    return Answer(200, json.dumps({"data": data}).encode(), (("Content-Type", "application/json"),))


@pytest.mark.parametrize("version", [1, 2, 4, "3x", None])
def test_answer_to_another_write_is_no_success(place: KvMount, proxy: FaultProxy, version: object) -> None:
    other, vault = place.vault(), place.vault(address=proxy.address)
    for n in range(2):
        other.write("apps/shop", {"n": n}, cas=n)
    proxy.on_request = lambda call: answered(version) if call.method == "POST" else FORWARD
    with pytest.raises(VaultUnreachable, match="next run finds out"):
        vault.write("apps/shop", {"n": 9}, cas=2)
    assert documents(proxy).count("POST") <= 3, "bounded"
    assert other.read("apps/shop").version == 2
