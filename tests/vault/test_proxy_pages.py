"""Error pages of a proxy in front of Vault: they say nothing about the token, the policy or the document."""

from collections.abc import Iterator

import pytest
import stamina

from rotator.vault import VaultUnreachable
from testkit.proxy import FORWARD, Action, Answer, Call, FaultProxy
from tests.vault.kv_mount import KvMount, documents, paths


def page(status: int) -> Answer:
    return Answer(status, b"<html><body>Request blocked</body></html>", (("Content-Type", "text/html"),))


@pytest.fixture
def proxy(place: KvMount) -> Iterator[FaultProxy]:
    with FaultProxy(place.bao.address).running() as running:
        yield running


def logins(proxy: FaultProxy) -> int:
    return sum(path.endswith("/login") for path in paths(proxy))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413, 502])
def test_page_does_not_question_the_token(place: KvMount, proxy: FaultProxy, status: int) -> None:
    vault = place.vault(address=proxy.address, auth=place.approle(token_ttl="1h"))
    vault.read("apps/shop")
    proxy.on_request = lambda call: page(status) if "/data/" in call.path else FORWARD
    with stamina.set_testing(True, attempts=1), pytest.raises(VaultUnreachable, match="not one of Vault's answers"):
        vault.read("apps/shop")
    assert logins(proxy) == 1
    assert not [path for path in paths(proxy) if path.endswith("lookup-self")]
    proxy.on_request = lambda call: FORWARD
    assert vault.read("apps/shop").version == 0


@pytest.mark.parametrize("status", [403, 405, 413])
def test_page_does_not_refuse_the_login(place: KvMount, proxy: FaultProxy, status: int) -> None:
    """A refused login delays the next one; a page does not."""
    vault = place.vault(address=proxy.address, auth=place.approle())
    proxy.on_request = lambda call: page(status) if call.path.endswith("/login") else FORWARD
    with stamina.set_testing(True, attempts=1), pytest.raises(VaultUnreachable, match=f"HTTP {status}"):
        vault.read("apps/shop")
    proxy.on_request = lambda call: FORWARD
    assert vault.read("apps/shop").version == 0


@pytest.mark.parametrize("status", [405, 413])
def test_page_instead_of_a_write_is_certain(place: KvMount, proxy: FaultProxy, status: int) -> None:
    proxy.on_request = lambda call: page(status) if call.method == "POST" else FORWARD
    vault = place.vault(address=proxy.address)
    with stamina.set_testing(True, attempts=1), pytest.raises(VaultUnreachable, match="Nothing was written"):
        vault.write("apps/shop", {"n": 1}, cas=0)
    assert documents(proxy) == ["POST"]
    assert place.vault().read("apps/shop").version == 0


def test_page_after_a_write_is_resolved(place: KvMount, proxy: FaultProxy) -> None:
    """A filter for answers can give a 403 although Vault carried the write out."""

    def filtered(call: Call, answer: Answer) -> Action | Answer:
        return page(403) if call.method == "POST" else FORWARD

    proxy.on_response = filtered
    assert place.vault(address=proxy.address).write("apps/shop", {"n": 1}, cas=0) == 1
    assert documents(proxy) == ["POST", "GET"]


def test_page_at_one_address_uses_the_next(place: KvMount, proxy: FaultProxy) -> None:
    with FaultProxy(place.bao.address, lambda call: page(405)).running() as blocked:
        vault = place.vault(address=[blocked.address, proxy.address])
        assert vault.write("apps/shop", {"n": 1}, cas=0) == 1
        assert documents(blocked) in ([], ["POST"])
