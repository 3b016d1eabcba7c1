"""The session for months: the life of its token, and what ends it early."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from rotator.vault import (
    Vault,
    VaultDenied,
    VaultSealed,
)
from testkit.cluster import PATIENCE
from testkit.openbao import TlsOpenBao
from testkit.proxy import FORWARD, Action, Answer, Call, FaultProxy
from tests.vault.kv_mount import (
    Clock,
    KvMount,
    logins,
    paths,
    secure,
)


def seconds_left(vault: Vault, clock: Clock) -> float:
    """How long the token in use lives, as far as the session knows."""
    expiry = vault.token_expiry()
    assert expiry is not None
    return (expiry - clock.now).total_seconds()


# --- logging in ----------------------------------------------------------------------------------------------


def test_token_with_a_use_limit_is_refused(place: KvMount) -> None:
    limited = place.admin.token(place.everything(), num_uses=5)
    for auth in (place.approle(token_num_uses=5), {"token": limited}):
        with pytest.raises(VaultDenied, match=r"good for \d requests only.*token_num_uses=0"):
            place.vault(auth=auth).read("apps/shop")


def test_child_token_ends_with_its_parent(place: KvMount) -> None:
    policy = f"maker{place.mount}"
    place.admin.policy(policy, 'path "auth/token/create" { capabilities = ["update", "sudo"] }')
    parent = place.admin.token(policy, place.everything())
    make = type(place.admin)(place.bao.address, parent)
    child, orphan = make.token(ttl="60s"), make.token(ttl="60s", no_parent=True)
    place.admin("POST", "auth/token/revoke", {"token": parent.get_secret_value()})
    with pytest.raises(VaultDenied, match="ended or was revoked"):
        place.vault(auth={"token": child}).keep_alive()
    place.vault(auth={"token": orphan}).keep_alive()


def test_idle_session_outlives_its_tokens(place: KvMount, proxy: FaultProxy) -> None:
    vault = place.vault(address=proxy.address, auth=place.approle(token_ttl="2s", token_max_ttl="4s"))
    end = time.monotonic() + 6.4
    while time.monotonic() < end:
        vault.keep_alive()
        time.sleep(0.03)
    kinds = Counter(path.rsplit("/", 1)[1] for path in paths(proxy))
    assert kinds["renew-self"] >= 1
    assert 2 <= kinds["login"] <= 5
    assert vault.read("apps/shop").version == 0


def test_replicas_renew_at_different_times(place: KvMount) -> None:
    auth = place.approle(token_ttl="1000m")
    due: list[int] = []
    for _ in range(8):
        clock = Clock()
        vault = place.vault(auth=auth, clock=clock)
        vault.read("apps/shop")
        expiry = vault.token_expiry()
        clock.advance(minutes=598)
        for minute in range(598, 672, 2):
            vault.read("apps/shop")
            if vault.token_expiry() != expiry:
                due.append(minute)
                break
            clock.advance(minutes=2)
    assert len(due) == 8, "at two thirds of its life at the latest"
    assert min(due) >= 600
    assert len(set(due)) > 2


def test_threads_use_the_token_during_its_renewal(place: KvMount, proxy: FaultProxy) -> None:
    clock = Clock()
    vault = place.vault(address=proxy.address, auth=place.approle(token_ttl="60s"), clock=clock, timeout="60s")
    vault.read("apps/shop")
    renewing, go_on = threading.Event(), threading.Event()

    def slow(call: Call) -> Action:
        if call.path.endswith("renew-self"):
            renewing.set()
            go_on.wait(PATIENCE)
        return FORWARD

    proxy.on_request = slow
    clock.advance(seconds=45)
    with ThreadPoolExecutor(1) as pool:
        renewal = pool.submit(vault.keep_alive)
        assert renewing.wait(PATIENCE)
        assert vault.read("apps/shop").version == 0
        assert not renewal.done()
        go_on.set()
        renewal.result(PATIENCE)
    assert vault.token_expiry() == clock.now + timedelta(seconds=60)


def test_periodic_token_is_renewed_without_log_lines(place: KvMount) -> None:
    clock = Clock()
    token = place.admin.token(place.everything(), period="60m")
    vault = place.vault(auth={"token": token}, clock=clock)
    with capture_logs() as events:
        for _ in range(5):
            vault.keep_alive()
            assert seconds_left(vault, clock) > 50 * 60
            clock.advance(minutes=42)
            vault.read("apps/shop")
            assert vault.token_expiry() == clock.now + timedelta(minutes=60)
    assert events == []


def test_expiring_token_is_logged_once_a_day(place: KvMount) -> None:
    clock = Clock()
    token = place.admin.token(place.everything(), ttl="30d", renewable=False)
    vault = place.vault(auth={"token": token}, clock=clock)
    vault.read("apps/shop")
    reminders = []
    for day in range(30):
        with capture_logs() as events:
            for _ in range(10):
                vault.read("apps/shop")
        reminders += [day for event in events if event["event"] == "vault.token_expiring"]
        clock.advance(days=1)
    assert 18 <= reminders[0] <= 21, "not before two thirds of its life"
    assert reminders == list(range(reminders[0], 30)), "once a day"


def test_expiring_token_is_logged_after_last_renewal(place: KvMount, proxy: FaultProxy) -> None:
    clock = Clock()
    token = place.admin.token(place.everything(), ttl="60s", renewable=True)
    vault = place.vault(address=proxy.address, auth={"token": token}, clock=clock)
    vault.read("apps/shop")

    def little(call: Call, answer: Answer) -> Action | Answer:
        renewal = call.path.endswith("renew-self")
        return Answer(200, answer.body.replace(b'"lease_duration":60', b'"lease_duration":20')) if renewal else FORWARD

    proxy.on_response = little
    clock.advance(seconds=41)
    with capture_logs() as events:
        vault.read("apps/shop")
        vault.read("apps/shop")
    assert [event["event"] for event in events] == ["vault.token_expiring"]
    assert "VAULT_TOKEN" in events[0]["next_step"]
    assert token.get_secret_value() not in str(events)


def test_keep_alive_replaces_a_revoked_token(place: KvMount, proxy: FaultProxy) -> None:
    vault = place.vault(address=proxy.address, auth=place.approle())
    vault.keep_alive()
    token = next(call.headers["X-Vault-Token"] for call in proxy.calls if call.path.endswith("lookup-self"))
    place.admin("POST", "auth/token/revoke", {"token": token})
    vault.keep_alive()
    assert logins(proxy) == 2


def test_keep_alive_accepts_a_token_without_default_policy(place: KvMount) -> None:
    token = place.admin.token(place.everything(), no_default_policy=True)
    vault = place.vault(auth={"token": token})
    vault.keep_alive()
    assert vault.token_expiry() is None


def test_keep_alive_reads_a_changed_token_file(place: KvMount, tmp_path: Path) -> None:
    policy, file, clock = place.everything(), tmp_path / "token", Clock()
    file.write_text(place.admin.token(policy, ttl="60m").get_secret_value())
    vault = place.vault(auth={"method": "token_file", "token_file": file}, clock=clock)
    vault.keep_alive()
    assert 55 < seconds_left(vault, clock) / 60 <= 60
    for content in ("", "no-such-token"):
        file.write_text(content)
        vault.keep_alive()
        assert 55 < seconds_left(vault, clock) / 60 <= 60, "the one it has still works"
    file.write_text(place.admin.token(policy, ttl="2h").get_secret_value())
    vault.keep_alive()
    assert 115 < seconds_left(vault, clock) / 60 <= 120


def test_keep_alive_corrects_life_after_clock_step(place: KvMount, proxy: FaultProxy) -> None:
    clock = Clock()
    vault = place.vault(address=proxy.address, auth=place.approle(token_ttl="60s"), clock=clock)
    vault.keep_alive()
    clock.advance(hours=-3)
    vault.keep_alive()
    assert seconds_left(vault, clock) <= 60
    clock.advance(seconds=45)
    vault.keep_alive()
    assert sum(path.endswith("renew-self") for path in paths(proxy)) == 1


def test_keep_alive_fails_while_the_server_is_sealed(tls: TlsOpenBao) -> None:
    vault = Vault(secure(tls))
    vault.keep_alive()
    tls.seal()
    try:
        with pytest.raises(VaultSealed):
            vault.keep_alive()
    finally:
        tls.unseal()
    vault.keep_alive()


# --- clusters ------------------------------------------------------------------------------------------------
