"""The session for months: failover, the token's life, and time, against real servers and what stands before them."""

import contextlib
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import stamina
from structlog.testing import capture_logs

from rotator.config import VaultSettings
from rotator.demo import OpenBao, free_port
from rotator.vault import (
    LONGEST_READ,
    CasConflict,
    Document,
    Vault,
    VaultDenied,
    VaultError,
    VaultSealed,
    VaultUnreachable,
    VaultUntrusted,
)
from testkit.cluster import PATIENCE, at_best, eventually
from testkit.openbao import RaftCluster, TlsOpenBao, running_raft
from testkit.proxy import DROP_AFTER, DROP_BEFORE, FORWARD, Action, Answer, Call, FaultProxy
from tests.vault.kv_mount import Clock, KvMount, Stopwatch, assert_silent, documents, first, paths, secure

SEALED = Answer(503, b'{"errors":["Vault is sealed"]}')
LEADERLESS = Answer(500, b'{"errors":["local node not active but active cluster node not found"]}')


@pytest.fixture
def second(bao: OpenBao) -> Iterator[FaultProxy]:
    with FaultProxy(bao.address).running() as running:
        yield running


def always(decision: Action | Answer) -> Callable[[Call], Action | Answer]:
    return lambda call: decision


def logins(proxy: FaultProxy) -> int:
    return sum(path.endswith("/login") for path in paths(proxy))


def seconds_left(vault: Vault, clock: Clock) -> float:
    """How long the token in use lives, as far as the session knows."""
    expiry = vault.token_expiry()
    assert expiry is not None
    return (expiry - clock.now).total_seconds()


def at_once(jobs: list[Callable[[], Any]]) -> list[Any]:
    """Each in a thread of its own, all beginning together; an error is a result."""
    barrier = threading.Barrier(len(jobs))

    def run(job: Callable[[], Any]) -> Any:
        barrier.wait()
        try:
            return job()
        except VaultError as error:
            return error

    with ThreadPoolExecutor(len(jobs)) as pool:
        return list(pool.map(run, jobs))


# --- several addresses ---------------------------------------------------------------------------------------


def test_session_stays_with_the_next_reachable_address(place: KvMount, second: FaultProxy) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    vault = place.vault(address=f"{dead},{second.address}")
    with capture_logs() as events:
        for number in range(3):
            assert vault.write("apps/shop", {"n": number}, cas=number) == number + 1
            assert vault.read("apps/shop").data == {"n": number}
    assert [event["event"] for event in events] == ["vault.address_changed"], "it was left once, and not tried again"
    assert vault.health().address == second.address


def test_session_survives_the_loss_of_each_address(place: KvMount, proxy: FaultProxy) -> None:
    with FaultProxy(place.bao.address).running() as first_one:
        vault = place.vault(address=[first_one.address, proxy.address])
        vault.write("apps/shop", {"n": 1}, cas=0)
        assert (documents(first_one), documents(proxy)) == (["POST"], [])
        first_one.on_request = always(DROP_BEFORE)
        assert vault.write("apps/shop", {"n": 2}, cas=1) == 2
        first_one.on_request = always(FORWARD)
        calls = len(first_one.calls)
        proxy.on_request = always(DROP_BEFORE)
        assert vault.write("apps/shop", {"n": 3}, cas=2) == 3
    assert len(first_one.calls) > calls
    assert place.vault().read("apps/shop").version == 3


@pytest.mark.parametrize(
    ("lost", "at_the_next"), [(DROP_AFTER, ["GET"]), (DROP_BEFORE, ["GET", "POST"])], ids=["answer", "request"]
)
def test_lost_write_is_read_at_the_next_address(
    place: KvMount, proxy: FaultProxy, second: FaultProxy, lost: Action, at_the_next: list[str]
) -> None:
    proxy.on_request = first("POST", lost)
    vault = place.vault(address=[proxy.address, second.address])
    assert vault.write("apps/shop", {"n": 1}, cas=0) == 1
    assert (documents(proxy), documents(second)) == (["POST"], at_the_next)
    assert place.vault().read("apps/shop").version == 1, "it was written once"


def test_lagging_standby_does_not_cause_a_conflict(place: KvMount, proxy: FaultProxy) -> None:
    behind = iter([True] * 3)
    nothing_yet = Answer(404, b'{"errors":[]}')

    def lag(call: Call) -> Action | Answer:
        if "/data/" not in call.path:
            return FORWARD
        if call.method == "GET":
            return nothing_yet if next(behind, False) else FORWARD
        return DROP_AFTER if documents(proxy).count("POST") == 1 else FORWARD

    proxy.on_request = lag
    assert place.vault(address=proxy.address).write("apps/shop", {"n": 1}, cas=0) == 1
    assert documents(proxy) == ["POST", "GET", "POST", "GET", "GET", "GET"]


@pytest.mark.parametrize("refusal", [SEALED, LEADERLESS], ids=str)
def test_refused_write_is_sent_to_the_next_address(
    place: KvMount, proxy: FaultProxy, second: FaultProxy, refusal: Answer
) -> None:
    proxy.on_request = lambda call: refusal if "/data/" in call.path else FORWARD
    with capture_logs() as events:
        assert place.vault(address=[proxy.address, second.address]).write("apps/shop", {"n": 1}, cas=0) == 1
    assert (documents(proxy), documents(second)) == (["POST"], ["POST"])
    assert [event["event"] for event in events] == ["vault.address_changed"]


def test_redirect_to_a_dead_leader_uses_next_address(place: KvMount, proxy: FaultProxy, second: FaultProxy) -> None:
    gone = (("Location", f"http://127.0.0.1:{free_port()}/v1/x"),)
    proxy.on_request = lambda call: Answer(307, headers=gone) if "/data/" in call.path else FORWARD
    assert place.vault(address=[proxy.address, second.address]).write("apps/shop", {"n": 1}, cas=0) == 1
    assert documents(second) == ["POST"]


def test_sealed_servers_are_all_named_at_once(place: KvMount, proxy: FaultProxy, second: FaultProxy) -> None:
    vault = place.vault(address=[proxy.address, second.address])
    vault.read("apps/shop")
    proxy.on_request = second.on_request = always(SEALED)
    for ask in (lambda: vault.read("a"), lambda: vault.write("a", {}, cas=0), vault.health, vault.keep_alive):
        asked = len(proxy.calls), len(second.calls)
        with (
            capture_logs() as events,
            pytest.raises(VaultSealed, match=f"{proxy.address} is sealed.*Unseal it") as caught,
        ):
            ask()
        assert f"{second.address} is sealed" in str(caught.value)
        assert (len(proxy.calls) - asked[0], len(second.calls) - asked[1]) == (1, 1), "it was tried again"
        assert events == [], "it was put off"
    proxy.on_request = second.on_request = always(FORWARD)
    assert vault.write("a", {}, cas=0) == 1, "the next request after it was unsealed"


def test_each_address_is_verified_separately(tls: TlsOpenBao) -> None:
    misnamed = tls.bao.address.replace("127.0.0.1", "localhost")
    assert Vault(secure(tls, address=[misnamed, tls.bao.address])).read("apps/other").version == 0
    with pytest.raises(VaultUntrusted, match=r"[Hh]ostname mismatch"):
        Vault(secure(tls, address=[misnamed, f"{misnamed}/"[:-1] + "/x"])).read("apps/other")


# --- logging in ----------------------------------------------------------------------------------------------


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


# --- the token's life ----------------------------------------------------------------------------------------


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


# --- time ----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def bad_server(misbehave: Callable[[socket.socket], object]) -> Iterator[str]:
    """A server that accepts and then does what only a broken one does."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while not over.is_set():
                    connection, _ = listener.accept()
                    threading.Thread(target=attend, args=(connection,), daemon=True).start()

        def attend(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                connection.recv(65536)
                while not over.is_set() and misbehave(connection) is not None:
                    over.wait(0.05)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        over.set()


def _drips_headers(connection: socket.socket) -> int:
    return connection.send(b"H")


def _drips_body() -> Callable[[socket.socket], int]:
    begun: set[int] = set()

    def drip(connection: socket.socket) -> int:
        if id(connection) not in begun:
            begun.add(id(connection))
            return connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{")
        return connection.send(b" ")

    return drip


MISBEHAVIOUR: dict[str, Callable[[socket.socket], object]] = {
    "never answers": lambda connection: 0,
    "drips headers": _drips_headers,
    "drips a body": _drips_body(),
    "answers garbage": lambda connection: connection.send(b"\x16\x03\x01 not HTTP\r\n\r\n") and None,
    "answers without end": lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (17 << 20)),
    "hangs up": lambda connection: None,
}


@pytest.mark.parametrize("misbehave", MISBEHAVIOUR.values(), ids=MISBEHAVIOUR)
def test_request_ends_in_time_with_any_server(place: KvMount, misbehave: Callable[[socket.socket], object]) -> None:
    with bad_server(misbehave) as address, stamina.set_testing(True, attempts=1):
        vault = place.vault(address=address, timeout="300ms")

        def ask() -> None:
            with pytest.raises(VaultUnreachable, match=r"does not answer|is too long") as caught:
                vault.health()
            assert_silent(caught.value, place.bao.root_token)

        at_best(0.3 + 0.25, ask)


def test_last_read_gets_the_remaining_time_only(place: KvMount) -> None:
    sent: set[int] = set()

    def one_byte_late(connection: socket.socket) -> int:
        if id(connection) in sent:
            return 0
        sent.add(id(connection))
        time.sleep(0.6)
        return connection.send(b"H")

    with bad_server(one_byte_late) as address, stamina.set_testing(True, attempts=1):

        def ask() -> None:
            sent.clear()
            with pytest.raises(VaultUnreachable):
                place.vault(address=address, timeout="700ms").health()

        at_best(0.7 + 0.35, ask)


def raises_unreachable(ask: Callable[[], object], said: str | None = None) -> None:
    with pytest.raises(VaultUnreachable, match=said):
        ask()


def test_operations_end_in_the_promised_time(place: KvMount) -> None:
    with bad_server(_drips_headers) as address:
        vault = place.vault(address=address, timeout="300ms")
        for ask in (lambda: vault.read("a"), lambda: vault.write("a", {}, cas=0), vault.keep_alive):
            # Logging in ends it, and that only reads.
            at_best(0.3 * LONGEST_READ + 1.2, partial(raises_unreachable, ask))


def test_write_and_read_back_end_in_promised_time(place: KvMount, proxy: FaultProxy) -> None:
    vault = place.vault(address=proxy.address, timeout="300ms")
    vault.keep_alive()
    with bad_server(_drips_headers) as slow:
        proxy.target = slow
        uncertain = "unchanged or as rotator wrote it"
        at_best(0.3 * 4 + 1.2, partial(raises_unreachable, lambda: vault.write("a", {}, cas=0), uncertain))


def test_read_reconnects_at_once_after_a_close(place: KvMount, proxy: FaultProxy) -> None:
    vault = place.vault(address=proxy.address)
    vault.write("apps/shop", {"n": 1}, cas=0)
    proxy.on_request = first("GET", DROP_BEFORE)
    with capture_logs() as events:
        assert vault.read("apps/shop").data == {"n": 1}
    assert documents(proxy) == ["POST", "GET", "GET"]
    assert events == [], "it was not put off"


def test_on_request_receives_each_operation_and_code(place: KvMount, proxy: FaultProxy) -> None:
    told: list[tuple[str, str, float]] = []
    clock = Clock()
    auth = place.approle(token_ttl="60s")
    vault = Vault(
        place.settings(address=proxy.address, auth=auth),
        clock=clock,
        on_request=lambda operation, code, seconds: told.append((operation, code, seconds)),
    )
    begun = time.monotonic()
    vault.write("apps/shop", {"n": 1}, cas=0)
    vault.read("apps/shop")
    vault.keep_versions("apps/shop", 3)
    clock.advance(seconds=45)
    vault.keep_alive()
    vault.capabilities(["a"])
    vault.check_mount()
    vault.health()
    proxy.on_request = first("GET", DROP_BEFORE)
    vault.read("apps/never")
    assert [(operation, code) for operation, code, _ in told] == [
        ("login", "200"),
        ("write", "200"),
        ("read", "200"),
        ("metadata", "403"),
        ("lookup", "200"),
        ("capabilities", "200"),
        ("renew", "200"),
        ("lookup", "200"),
        ("capabilities", "200"),
        ("mounts", "200"),
        ("health", "200"),
        ("read", "no_answer"),
        ("read", "404"),
    ]
    assert all(seconds > 0 for _, _, seconds in told)
    assert sum(seconds for _, _, seconds in told) < time.monotonic() - begun
    assert len(told) == len(proxy.calls), "once each"


def test_on_request_receives_not_sent(place: KvMount) -> None:
    codes: set[str] = set()
    vault = Vault(
        place.settings(address=f"http://127.0.0.1:{free_port()}"),
        on_request=lambda operation, code, seconds: codes.add(code),
    )
    with pytest.raises(VaultUnreachable):
        vault.read("apps/shop")
    assert codes == {"not_sent"}


@pytest.mark.parametrize("status", [200, 429, 472, 473, 501, 503])
def test_health_is_read_at_any_status(place: KvMount, proxy: FaultProxy, status: int) -> None:
    body = b'{"version":"1.2","sealed":%s,"standby":true}' % (b"true" if status in (501, 503) else b"false")
    proxy.on_request = always(Answer(status, body))
    health = place.vault(address=proxy.address).health()
    assert (health.address, health.version, health.standby) == (proxy.address, "1.2", True)
    assert health.sealed is (status in (501, 503))


def test_health_refuses_a_disaster_recovery_secondary(place: KvMount, proxy: FaultProxy, second: FaultProxy) -> None:
    body = b'{"version":"1.2","sealed":false,"standby":false,"replication_dr_mode":"secondary"}'
    proxy.on_request = always(Answer(472, body))
    with stamina.set_testing(True, attempts=1), pytest.raises(VaultUnreachable, match="disaster"):
        place.vault(address=proxy.address).health()
    assert place.vault(address=[proxy.address, second.address]).health().address == second.address


# --- clusters ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def raft(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RaftCluster]:
    with running_raft(tmp_path_factory.mktemp("raft"), 3) as cluster:
        yield cluster


def raft_settings(cluster: RaftCluster, **changes: Any) -> VaultSettings:
    values: dict[str, Any] = {
        "address": cluster.addresses,
        "timeout": "5s",
        "auth": {"token": cluster.admin.root_token},
    }
    return VaultSettings(**values | changes)


def test_lagging_standby_never_returns_older_documents(raft: RaftCluster) -> None:
    """Such a server answers reads by itself, and without being told what was seen it is behind in half of these."""
    with FaultProxy(raft.addresses[0]).running() as leader, FaultProxy(raft.addresses[1]).running() as standby:
        leader.on_request = lambda call: SEALED if call.method == "GET" else FORWARD
        standby.on_request = lambda call: SEALED if call.method == "POST" else FORWARD
        vault = Vault(raft_settings(raft, address=[leader.address, standby.address]))
        for number in range(60):
            vault.write("seen/written", {"n": number}, cas=number)
            assert vault.read("seen/written").data == {"n": number}
    assert len(documents(standby)) >= 2 * 60


class Increments:
    """Threads that count in one document by check-and-set, and note what they were told."""

    def __init__(self, settings: VaultSettings, threads: int = 8) -> None:
        self.vault = Vault(settings, pool_size=threads)
        self.vault.write("counter", {"n": 0, "by": "nobody"}, cas=0)
        assert self.vault.keep_versions("counter", 100_000)  # every one is looked at in the end
        self.acknowledged: dict[int, str] = {}
        self.uncertain: set[str] = set()
        self.errors: Counter[str] = Counter()
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(threads)
        self._futures = [self._pool.submit(self._count, name) for name in range(threads)]

    def await_more(self, count: int, timeout: float = 2 * PATIENCE) -> None:
        """Wait for so many further increments."""
        wanted, deadline = len(self.acknowledged) + count, time.monotonic() + timeout
        while len(self.acknowledged) < wanted:
            assert time.monotonic() < deadline, f"it does not go on: {self.errors}"
            time.sleep(0.01)

    def stop(self) -> None:
        self._over.set()
        for future in self._futures:
            future.result(2 * PATIENCE)  # anything but a VaultError ends here
        self._pool.shutdown()

    def _count(self, thread: int) -> None:
        number = 0
        while not self._over.is_set():
            number += 1
            tag = f"{thread}/{number}"
            sent = False
            try:
                document = self.vault.read("counter")
                assert document.data is not None
                sent = True
                following = {"n": document.data["n"] + 1, "by": tag}
                version = self.vault.write("counter", following, cas=document.version)
            except CasConflict:
                continue
            except VaultError as error:
                with self._lock:
                    self.errors[type(error).__name__] += 1
                    if sent and getattr(error, "maybe_done", False):
                        self.uncertain.add(tag)
            else:
                with self._lock:
                    assert version not in self.acknowledged, "two threads were told that the same version is theirs"
                    self.acknowledged[version] = tag

    def _last(self) -> int:
        """The newest version, which this thread knows of once it has written one itself: a standby may lag behind."""
        while True:
            document = self.vault.read("counter")
            assert document.data is not None
            with contextlib.suppress(CasConflict):
                last = self.vault.write("counter", {"n": document.data["n"] + 1, "by": "end"}, cas=document.version)
                self.acknowledged[last] = "end"
                return last

    def assert_exact(self) -> None:
        """Every acknowledged increment is there once, and nothing else but what may be."""
        last = self._last()
        written = {number: self.vault.read("counter", number).data for number in range(2, last + 1)}
        for number, data in written.items():
            assert data is not None
            assert data["n"] == number - 1, "one was lost or doubled"
        tags = [data["by"] for data in written.values() if data]
        assert len(set(tags)) == len(tags), "one was written twice"
        for number, tag in self.acknowledged.items():
            assert tags[number - 2] == tag
        assert set(tags) - set(self.acknowledged.values()) <= self.uncertain, "it was written, but not acknowledged"


def test_killed_leader_loses_and_doubles_no_write(raft: RaftCluster) -> None:
    work = Increments(raft_settings(raft))
    try:
        work.await_more(20)
        raft.nodes[0].kill()
        work.await_more(20)
        raft.start(raft.nodes[0])
        work.await_more(20)
    finally:
        work.stop()
    work.assert_exact()


def test_restarted_server_loses_and_doubles_no_write(tmp_path: Path) -> None:
    with running_raft(tmp_path, 1) as cluster:
        work = Increments(raft_settings(cluster, timeout="2s"))
        try:
            for _ in range(2):
                work.await_more(30)
                cluster.nodes[0].kill()
                cluster.start(cluster.nodes[0])
            work.await_more(30)
        finally:
            work.stop()
        work.assert_exact()
