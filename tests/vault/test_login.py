"""Logins: threads share one, waiting threads share its failure, and a refused one is not repeated at once."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest
import stamina

from rotator.vault import LONGEST_READ, Document, VaultDenied, VaultUnreachable
from testkit.cluster import PATIENCE, at_best, eventually
from testkit.proxy import DROP_BEFORE, FORWARD, Action, Answer, Call, FaultProxy
from tests.vault.kv_mount import KvMount, Stopwatch, assert_silent, at_once, logins, paths


def test_threads_share_one_login_and_one_replacement(place: KvMount, proxy: FaultProxy) -> None:
    vault = place.vault(address=proxy.address, auth=place.approle(token_ttl="1h"))
    reads = [lambda: vault.read("apps/shop").version] * 64
    assert at_once(reads) == [0] * 64
    assert logins(proxy) == 1
    token = next(call.headers["X-Vault-Token"] for call in proxy.calls if "/data/" in call.path)
    place.admin("POST", "auth/token/revoke", {"token": token})
    assert at_once(reads) == [0] * 64
    assert logins(proxy) == 2
    assert sum(path.endswith("lookup-self") for path in paths(proxy)) == 1, "one of them asked what was wrong"


def test_threads_that_wait_share_the_failed_login(place: KvMount, proxy: FaultProxy) -> None:
    asking: list[int] = []

    def lose_late(call: Call) -> Action:
        eventually(lambda: len(asking) == 16)
        time.sleep(0.5)  # the last ones begin to wait
        return DROP_BEFORE

    proxy.on_request = lose_late
    vault = place.vault(address=proxy.address, auth=place.approle(), timeout="60s")

    def read() -> Document:
        asking.append(1)
        return vault.read("apps/shop")

    with stamina.set_testing(True, attempts=1):
        results = at_once([read] * 16)
    assert {type(result) for result in results} == {VaultUnreachable}
    assert not any(result.maybe_done for result in results)
    assert logins(proxy) <= 4, "not one after the other"


def test_wait_for_another_threads_login_is_bounded(place: KvMount, proxy: FaultProxy) -> None:
    held = threading.Event()

    def hold(call: Call) -> Action:
        held.wait(2 * PATIENCE)
        return FORWARD

    proxy.on_request = hold
    vault = place.vault(address=proxy.address, auth=place.approle(), timeout="200ms")
    with stamina.set_testing(True, attempts=1):
        results: list[Any] = []
        try:
            at_best(0.2 * LONGEST_READ + 0.5, lambda: results.extend(at_once([lambda: vault.read("apps/shop")] * 4)))
        finally:
            held.set()
    assert {type(result) for result in results} == {VaultUnreachable}


def test_refused_login_is_repeated_with_backoff(place: KvMount, proxy: FaultProxy, tmp_path: Path) -> None:
    stopwatch = Stopwatch()
    auth, file = place.approle(), tmp_path / "secret-id"
    good = auth.pop("secret_id")
    file.write_text("wrong-8f3a01c2")
    vault = place.vault(address=proxy.address, auth=auth | {"secret_id_file": file}, monotonic=stopwatch)
    for _ in range(20):
        with pytest.raises(VaultDenied, match=f"login at auth/{auth['mount']}/login"):
            vault.read("apps/shop")
    with pytest.raises(VaultDenied, match=r"the next login is tried in 1 s") as caught:
        vault.keep_alive()
    assert_silent(caught.value, "wrong-8f3a01c2")
    assert logins(proxy) == 1
    stopwatch.advance(1.05)
    with pytest.raises(VaultDenied):
        vault.read("apps/shop")
    with pytest.raises(VaultDenied, match=r"the next login is tried in 2 s"):
        vault.read("apps/shop")
    assert logins(proxy) == 2
    file.write_text(good.get_secret_value())
    assert vault.read("apps/shop").version == 0, "other credentials are tried at once"


def test_session_sends_nothing_until_the_next_login(place: KvMount, proxy: FaultProxy) -> None:
    auth = place.approle()
    vault = place.vault(address=proxy.address, auth=auth, monotonic=Stopwatch())
    vault.read("apps/shop")
    token = next(call.headers["X-Vault-Token"] for call in proxy.calls if "/data/" in call.path)
    place.admin("POST", "auth/token/revoke", {"token": token})
    place.admin("DELETE", f"auth/{auth['mount']}/role/r")
    with pytest.raises(VaultDenied, match="login"):
        vault.read("apps/shop")
    calls = len(proxy.calls)
    for _ in range(5):
        with pytest.raises(VaultDenied, match="the next login is tried in"):
            vault.read("apps/shop")
    assert len(proxy.calls) == calls


def test_token_refused_after_login_delays_the_next_login(place: KvMount, proxy: FaultProxy) -> None:
    refused = Answer(403, b'{"errors":["permission denied"]}')
    proxy.on_request = lambda call: FORWARD if call.path.endswith("/login") else refused
    vault = place.vault(address=proxy.address, auth=place.approle(), monotonic=Stopwatch())
    for _ in range(10):
        with pytest.raises(VaultDenied):
            vault.read("apps/shop")
    assert logins(proxy) == 2
