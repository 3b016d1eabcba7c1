"""Numbers and times that Vault never sends: rotator calls the answer unreadable, and nothing else fails."""

import re
from collections.abc import Callable, Iterator

import pytest
import stamina

from rotator.vault import VaultDenied, VaultError, VaultUnreachable
from testkit.proxy import FORWARD, Action, Answer, Call, FaultProxy
from tests.vault.kv_mount import Clock, KvMount

NO_NUMBERS = [b"1e400", b"-1e400", b"NaN", b"1.5", b"true", b"null", b'"1"', b"[]", b"123456789012345678901234567890"]

NO_USES = [value for value in NO_NUMBERS if value != b"null"]


@pytest.fixture
def proxy(place: KvMount) -> Iterator[FaultProxy]:
    with FaultProxy(place.bao.address).running() as running:
        yield running


def replacing(path: str, name: bytes, value: bytes) -> Callable[[Call, Answer], Action | Answer]:
    """Replace a field of the answers for a path."""

    def change(call: Call, answer: Answer) -> Action | Answer:
        if path not in call.path:
            return FORWARD
        body, count = re.subn(rb'"%s":("[^"]*"|[^,}]*)' % name, b'"%s":%s' % (name, value), answer.body)
        assert count, answer.body
        return Answer(answer.status, body, answer.headers)

    return change


@pytest.mark.parametrize("value", [*NO_NUMBERS, b"0", b"-1"])
def test_version_is_checked(place: KvMount, proxy: FaultProxy, value: bytes) -> None:
    place.vault().write("apps/shop", {"n": 1}, cas=0)
    vault = place.vault(address=proxy.address)
    vault.keep_alive()
    proxy.on_response = replacing("/data/", b"version", value)
    with stamina.set_testing(True, attempts=1), pytest.raises(VaultUnreachable, match="not one of Vault's"):
        vault.read("apps/shop")
    with stamina.set_testing(True, attempts=1), pytest.raises(VaultUnreachable, match="not one of Vault's"):
        vault.write("apps/shop", {"n": 2}, cas=1)


@pytest.mark.parametrize(
    "value", [b'"soon"', b'"2026-01-01T00:00:00"', b"1", b'""', b'"9999999-01-01T00:00:00Z"', b'"9999-12-31T23:59:59Z"']
)
def test_time_is_checked(place: KvMount, proxy: FaultProxy, value: bytes) -> None:
    place.vault().write("apps/shop", {"n": 1}, cas=0)
    vault = place.vault(address=proxy.address)
    proxy.on_response = replacing("/data/", b"created_time", value)
    with stamina.set_testing(True, attempts=1), pytest.raises(VaultUnreachable, match="not one of Vault's"):
        vault.read("apps/shop")


@pytest.mark.parametrize("value", NO_NUMBERS)
def test_life_of_a_given_token_is_checked(place: KvMount, proxy: FaultProxy, value: bytes) -> None:
    vault = place.vault(address=proxy.address)
    proxy.on_response = replacing("lookup-self", b"ttl", value)
    with stamina.set_testing(True, attempts=1), pytest.raises(VaultUnreachable, match="not one of Vault's"):
        vault.read("apps/shop")


@pytest.mark.parametrize("value", NO_NUMBERS)
def test_life_of_a_login_is_checked(place: KvMount, proxy: FaultProxy, value: bytes) -> None:
    vault = place.vault(address=proxy.address, auth=place.approle())
    proxy.on_response = replacing("/login", b"lease_duration", value)
    with pytest.raises(VaultDenied, match=r"login at .*no usable token"):
        vault.read("apps/shop")


@pytest.mark.parametrize("value", [*NO_USES, b"-1"])
def test_use_limit_of_a_given_token_is_checked(place: KvMount, proxy: FaultProxy, value: bytes) -> None:
    vault = place.vault(address=proxy.address)
    proxy.on_response = replacing("lookup-self", b"num_uses", value)
    with stamina.set_testing(True, attempts=1), pytest.raises(VaultUnreachable, match="not one of Vault's"):
        vault.read("apps/shop")


@pytest.mark.parametrize("value", [*NO_USES, b"-1"])
def test_use_limit_of_a_login_is_checked(place: KvMount, proxy: FaultProxy, value: bytes) -> None:
    vault = place.vault(address=proxy.address, auth=place.approle())
    proxy.on_response = replacing("/login", b"num_uses", value)
    with pytest.raises(VaultDenied, match=r"login at .*no usable token"):
        vault.read("apps/shop")


@pytest.mark.parametrize("value", [b"null", b"1", b'""', rb'"two\\nlines"', '"fünf"'.encode()])
def test_token_of_a_login_is_checked(place: KvMount, proxy: FaultProxy, value: bytes) -> None:
    vault = place.vault(address=proxy.address, auth=place.approle())
    proxy.on_response = replacing("/login", b"client_token", value)
    with pytest.raises(VaultDenied, match=r"login at .*no usable token.*no proxy in between"):
        vault.read("apps/shop")


@pytest.mark.parametrize("date", ["Fri, 31 Dec 9999 23:59:59 GMT", "Tue, 01 Jan 1901 00:00:00 GMT"])
def test_unusable_date_of_server_is_none(place: KvMount, proxy: FaultProxy, date: str) -> None:
    proxy.on_response = lambda call, answer: Answer(
        answer.status, answer.body, (*(pair for pair in answer.headers if pair[0].lower() != "date"), ("Date", date))
    )
    assert place.vault(address=proxy.address).read("apps/shop").read_at is None


def test_far_deletion_time_is_none(place: KvMount, proxy: FaultProxy) -> None:
    place.vault().write("apps/shop", {"n": 1}, cas=0)
    proxy.on_response = replacing("/data/", b"deletion_time", b'"9999-12-31T23:59:59Z"')
    assert place.vault(address=proxy.address).read("apps/shop").expires_at is None


@pytest.mark.parametrize("value", NO_NUMBERS)
def test_life_after_a_renewal_is_checked(place: KvMount, proxy: FaultProxy, value: bytes) -> None:
    clock = Clock()
    token = place.admin.token(place.everything(), ttl="60s", renewable=True)
    vault = place.vault(address=proxy.address, auth={"token": token}, clock=clock)
    vault.read("apps/shop")
    proxy.on_response = replacing("renew-self", b"lease_duration", value)
    clock.advance(seconds=45)
    assert vault.read("apps/shop").version == 0


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"data":[]}', b'{"data":{"data":{},"metadata":[]}}', b"1", b"\xff"])
def test_document_of_another_shape_is_unreadable(place: KvMount, proxy: FaultProxy, body: bytes) -> None:
    vault = place.vault(address=proxy.address)
    vault.keep_alive()
    proxy.on_request = lambda call: Answer(200, body)
    asks: list[Callable[[], object]] = [
        lambda: vault.read("apps/shop"),
        lambda: vault.write("apps/shop", {}, cas=0),
        vault.keep_alive,
        vault.health,
        vault.check_mount,
        lambda: vault.capabilities(["a"]),
    ]
    for ask in asks:
        with stamina.set_testing(True, attempts=1), pytest.raises(VaultError, match="not one of Vault's"):
            ask()
