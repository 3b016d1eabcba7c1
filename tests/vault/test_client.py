"""Requests to the servers of one Vault: which address is asked, and what is reported of it."""

import time

import pytest
from structlog.testing import capture_logs

from rotator.demo import free_port
from rotator.vault import Vault, VaultSealed, VaultUnreachable, VaultUntrusted
from testkit.openbao import TlsOpenBao
from testkit.proxy import DROP_AFTER, DROP_BEFORE, FORWARD, Action, Answer, Call, FaultProxy
from tests.vault.kv_mount import LEADERLESS, SEALED, Clock, KvMount, always, documents, first, secure


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
