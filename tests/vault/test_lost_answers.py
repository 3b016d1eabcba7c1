"""Requests and answers that are lost, late, repeated or not Vault's."""

import json
import time

import pytest
import stamina
from pydantic import SecretStr
from structlog.testing import capture_logs

from rotator.demo import free_port
from rotator.errors import Code, RotatorError
from rotator.vault import (
    CasConflict,
    VaultError,
    VaultUnreachable,
)
from testkit.proxy import DROP_AFTER, DROP_BEFORE, FORWARD, Action, Answer, Call, FaultProxy
from tests.vault.kv_mount import CANARY, KvMount, assert_silent, documents, first

SEALED = Answer(503, b'{"errors":["Vault is sealed"]}', (("Content-Type", "application/json"),))


def test_write_is_confirmed_when_its_answer_is_lost(place: KvMount, proxy: FaultProxy) -> None:
    proxy.on_request = first("POST", DROP_AFTER)
    data = {"api_secret": SecretStr(CANARY), "share": 1.0, "long": 12345678901234567890123}
    with capture_logs() as events:
        assert place.vault(address=proxy.address).write("apps/shop", data, cas=0) == 1
    assert documents(proxy) == ["POST", "GET"]
    assert place.vault().read("apps/shop").version == 1, "it was written once"
    assert CANARY not in json.dumps(events)


def test_write_is_repeated_when_it_never_arrived(place: KvMount, proxy: FaultProxy) -> None:
    proxy.on_request = first("POST", DROP_BEFORE, times=2)
    assert place.vault(address=proxy.address).write("apps/shop", {"n": 1}, cas=0) == 1
    assert documents(proxy) == ["POST", "GET", "POST", "GET", "POST"]


def test_write_fails_when_every_attempt_is_lost(place: KvMount, proxy: FaultProxy) -> None:
    proxy.on_request = first("POST", DROP_BEFORE, times=99)
    with pytest.raises(VaultUnreachable) as caught:
        place.vault(address=proxy.address).write("apps/shop", {"api_secret": SecretStr(CANARY)}, cas=0)
    assert documents(proxy).count("POST") == 3
    assert_silent(caught.value, CANARY, place.bao.root_token)


def test_refused_write_is_not_applied_when_lookup_fails(place: KvMount, proxy: FaultProxy) -> None:
    token = place.limited(f'path "{place.mount}/*" {{ capabilities = ["read"] }}')
    vault = place.vault(address=proxy.address, auth={"token": token}, timeout="1s")
    vault.read("apps/shop")

    def unanswered(call: Call) -> Action | Answer:
        return DROP_AFTER if call.path.endswith("lookup-self") else FORWARD

    proxy.on_request = unanswered
    with pytest.raises(VaultUnreachable) as caught:
        vault.write("apps/shop", {"n": 1}, cas=0)
    assert (caught.value.maybe_done, caught.value.unchanged) == (False, "Nothing was written")


def test_write_is_confirmed_when_a_proxy_answers_502(place: KvMount, proxy: FaultProxy) -> None:
    def in_trouble(call: Call, answer: Answer) -> Action | Answer:
        return Answer(502, b"<html>Bad gateway</html>", ()) if call.method == "POST" else FORWARD

    proxy.on_response = in_trouble
    assert place.vault(address=proxy.address).write("apps/shop", {"n": 1}, cas=0) == 1
    assert documents(proxy) == ["POST", "GET"]


def test_write_is_confirmed_when_its_answer_times_out(place: KvMount, proxy: FaultProxy) -> None:
    def slow(call: Call, answer: Answer) -> Action | Answer:
        if call.method == "POST":
            time.sleep(2.5)
        return FORWARD

    proxy.on_response = slow
    assert place.vault(address=proxy.address, timeout="2s").write("apps/shop", {"n": 1}, cas=0) == 1


def test_write_is_confirmed_when_a_proxy_repeats_it(place: KvMount, proxy: FaultProxy) -> None:
    """A proxy that repeats a request by itself lets the client see only the second answer."""

    def twice(call: Call) -> Action | Answer:
        if call.method == "POST":
            proxy.ask(call)
        return FORWARD

    proxy.on_request = twice
    assert place.vault(address=proxy.address).write("apps/shop", {"n": 1}, cas=0) == 1
    assert place.vault().read("apps/shop").version == 1


def test_lost_write_stays_uncertain_when_vault_is_sealed(place: KvMount, proxy: FaultProxy) -> None:
    """The next attempts were not carried out, and say nothing of the first."""
    answers = iter([DROP_BEFORE])
    proxy.on_request = lambda call: next(answers, SEALED) if call.method == "POST" else FORWARD
    with pytest.raises(VaultUnreachable, match="next run finds out") as caught:
        place.vault(address=proxy.address).write("apps/shop", {"n": 1}, cas=0)
    assert documents(proxy).count("POST") == 3
    assert caught.value.maybe_done
    assert caught.value.code is Code.VAULT_UNREACHABLE


def test_conflict_with_itself_stays_uncertain_when_unreadable(place: KvMount, proxy: FaultProxy) -> None:
    """The write that a proxy repeated was applied: the error must not say that nothing was written."""

    def twice(call: Call) -> Action | Answer:
        if call.method == "POST":
            proxy.ask(call)
        return SEALED if call.method == "GET" and "/data/" in call.path else FORWARD

    proxy.on_request = twice
    with pytest.raises(VaultUnreachable, match="next run finds out") as caught:
        place.vault(address=proxy.address).write("apps/shop", {"n": 1}, cas=0)
    assert "Nothing was written" not in str(caught.value)
    assert caught.value.maybe_done
    assert place.vault().read("apps/shop").version == 1


def test_write_is_a_conflict_when_another_followed_it(place: KvMount, proxy: FaultProxy) -> None:
    def meanwhile(call: Call) -> Action | Answer:
        if call.method == "POST":
            place.vault().write("apps/shop", {"n": "theirs"}, cas=0)
            return DROP_BEFORE
        return FORWARD

    proxy.on_request = meanwhile
    with pytest.raises(CasConflict):
        place.vault(address=proxy.address).write("apps/shop", {"n": "ours"}, cas=0)
    assert place.vault().read("apps/shop").data == {"n": "theirs"}


def test_true_and_1_are_not_the_same_document(place: KvMount, proxy: FaultProxy) -> None:
    def meanwhile(call: Call) -> Action | Answer:
        if call.method == "POST":
            place.vault().write("apps/shop", {"n": True}, cas=0)
            return DROP_BEFORE
        return FORWARD

    proxy.on_request = meanwhile
    with pytest.raises(CasConflict):
        place.vault(address=proxy.address).write("apps/shop", {"n": 1}, cas=0)


def test_write_is_uncertain_when_it_is_unreadable(place: KvMount, proxy: FaultProxy) -> None:
    proxy.on_request = lambda call: DROP_AFTER if "/data/" in call.path else FORWARD
    with (
        stamina.set_testing(True, attempts=1),
        pytest.raises(VaultUnreachable, match="unchanged or as rotator wrote it") as caught,
    ):
        place.vault(address=proxy.address).write("apps/shop", {"api_secret": SecretStr(CANARY)}, cas=0)
    assert_silent(caught.value, CANARY, place.bao.root_token)


@pytest.mark.parametrize(
    "fault",
    [DROP_BEFORE, DROP_AFTER, *(Answer(status, b'{"errors":["busy"]}') for status in (429, 500, 502, 503))],
    ids=str,
)
def test_read_is_repeated_when_it_is_not_answered(place: KvMount, proxy: FaultProxy, fault: Action | Answer) -> None:
    place.vault().write("apps/shop", {"n": 1}, cas=0)
    proxy.on_request = first("GET", fault)
    assert place.vault(address=proxy.address).read("apps/shop").data == {"n": 1}
    assert documents(proxy) == ["GET", "GET"]


def test_read_fails_after_twice_the_timeout(place: KvMount, proxy: FaultProxy) -> None:
    def slow(call: Call, answer: Answer) -> Action | Answer:
        if "/data/" in call.path:
            time.sleep(0.8)
        return FORWARD

    proxy.on_response = slow
    with pytest.raises(VaultUnreachable, match="does not answer"):
        place.vault(address=proxy.address, timeout="500ms").read("apps/shop")
    assert len(documents(proxy)) <= 2


def test_read_refuses_a_404_of_another_program(place: KvMount, proxy: FaultProxy) -> None:
    proxy.on_request = first("GET", Answer(404, b"<html>Not here</html>", ()), times=9)
    with stamina.set_testing(True, attempts=1), pytest.raises(VaultUnreachable, match="not one of Vault's"):
        place.vault(address=proxy.address).read("apps/shop")


def test_answer_of_another_program_is_named_as_such(place: KvMount, proxy: FaultProxy) -> None:
    proxy.on_request = lambda call: Answer(200, b"<html>Welcome</html>", ())
    vault = place.vault(address=proxy.address)
    asks = (lambda: vault.read("apps/shop"), vault.health, vault.check_mount, lambda: vault.capabilities(["a"]))
    with stamina.set_testing(True, attempts=1):
        for ask in asks:
            with pytest.raises(VaultError, match="not one of Vault's"):
                ask()


def test_unreachable_server_does_not_reveal_the_token(place: KvMount) -> None:
    with pytest.raises(VaultUnreachable, match="does not answer") as caught:
        place.vault(address=f"http://127.0.0.1:{free_port()}").read("apps/shop")
    assert_silent(caught.value, place.bao.root_token)


@pytest.mark.parametrize(
    "status", [301, 400, 401, 402, 403, 404, 405, 412, 413, 418, 472, 473, 500, 501, 502, 503, 504]
)
def test_every_error_is_a_rotator_error(place: KvMount, proxy: FaultProxy, status: int) -> None:
    """Whatever the status, nothing of hvac or requests comes out."""
    proxy.on_request = lambda call: Answer(status, b'{"errors":["no"]}')
    vault = place.vault(address=proxy.address)
    with stamina.set_testing(True, attempts=1):
        for ask in (lambda: vault.read("a"), lambda: vault.write("a", {}, cas=0), vault.health, vault.check_mount):
            with pytest.raises(RotatorError) as caught:
                ask()
            assert_silent(caught.value, place.bao.root_token)
