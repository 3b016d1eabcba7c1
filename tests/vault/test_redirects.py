"""Redirects that rotator cannot follow: each error names the target and what to correct."""

from collections.abc import Callable, Iterator

import pytest
import stamina

from rotator.demo import free_port
from rotator.vault import Vault, VaultUnreachable
from testkit.proxy import FORWARD, Action, Answer, Call, FaultProxy
from tests.vault.kv_mount import KvMount, assert_silent


def redirect(status: int, location: str) -> Answer:
    return Answer(status, b"", (("Location", location),))


@pytest.fixture
def proxy(place: KvMount) -> Iterator[FaultProxy]:
    with FaultProxy(place.bao.address).running() as running:
        yield running


@pytest.fixture
def vault(place: KvMount, proxy: FaultProxy) -> Vault:
    """A session that has logged in: only documents are redirected from then on."""
    made = place.vault(address=proxy.address)
    made.keep_alive()
    return made


def documents(answer: Answer) -> Callable[[Call], Action | Answer]:
    return lambda call: answer if "/data/" in call.path else FORWARD


def refusal(ask: Callable[[], object]) -> VaultUnreachable:
    with stamina.set_testing(True, attempts=1), pytest.raises(VaultUnreachable) as caught:
        ask()
    return caught.value


def assert_refused(place: KvMount, vault: Vault, *said: str) -> None:
    """Neither a read nor a write is carried out, and each error says why."""
    for ask in (lambda: vault.read("apps/shop"), lambda: vault.write("apps/shop", {"n": 1}, cas=0)):
        error = refusal(ask)
        for part in said:
            assert part in str(error)
        assert not error.maybe_done
        assert error.next_step
        assert_silent(error, place.bao.root_token)
    assert place.vault().read("apps/shop").version == 0


def test_redirect_to_another_server_is_refused(place: KvMount, proxy: FaultProxy, vault: Vault) -> None:
    other = f"http://127.0.0.1:{free_port()}"
    proxy.on_request = documents(redirect(307, f"{other}/v1/x"))
    said = f"Vault at {proxy.address} redirects to {other}/v1/x with HTTP 307, which is not in vault.address"
    assert_refused(place, vault, said, "api_addr")


@pytest.mark.parametrize(
    "location",
    ["http://::1:8200/v1/x", "http://fd00::1:8200/x", "http://[bad", "ftp://a/b", "http://a:b/", "http://:8200/x"],
)
def test_redirect_to_no_url_is_refused(place: KvMount, proxy: FaultProxy, vault: Vault, location: str) -> None:
    proxy.on_request = documents(redirect(307, location))
    assert_refused(place, vault, f"Vault at {proxy.address} redirects with HTTP 307", "Location", "brackets")


def test_redirect_loop_is_named(place: KvMount, proxy: FaultProxy, vault: Vault) -> None:
    proxy.on_request = lambda call: redirect(307, f"{proxy.address}{call.path}") if "/data/" in call.path else FORWARD
    assert_refused(place, vault, f"redirects to {proxy.address} with HTTP 307, again and again", "api_addr")
    assert len([call for call in proxy.calls if "/data/" in call.path]) == 6, "three for each"


@pytest.mark.parametrize("status", [301, 302, 303])
def test_redirect_that_changes_the_method_is_refused(
    place: KvMount, proxy: FaultProxy, vault: Vault, status: int
) -> None:
    location = f"http://user:pass0word@{proxy.address.removeprefix('http://')}/moved?token=pass0word"
    proxy.on_request = documents(redirect(status, location))
    error = refusal(lambda: vault.write("apps/shop", {"n": 1}, cas=0))
    what = f"redirects to {proxy.address}/moved with HTTP {status}, which would turn a write into a read"
    assert what in str(error)
    assert "Correct vault.address, with its path" in error.next_step
    assert not error.maybe_done
    assert "pass0word" not in str(error)


@pytest.mark.parametrize("status", [301, 302, 303, 307])
def test_write_redirected_to_login_page_names_the_proxy(
    place: KvMount, proxy: FaultProxy, vault: Vault, status: int
) -> None:
    proxy.on_request = documents(redirect(status, "https://login.example.com/start?for=rotator"))
    error = refusal(lambda: vault.write("apps/shop", {"n": 1}, cas=0))
    assert f"https://login.example.com:443/start with HTTP {status}, which is not in vault.address" in str(error)
    assert "If it belongs to this Vault, name it" in error.next_step
    assert "a proxy's login page" in error.next_step


def test_redirect_of_a_read_is_followed(place: KvMount, proxy: FaultProxy) -> None:
    place.vault().write("apps/shop", {"n": 1}, cas=0)
    vault = place.vault(address=[proxy.address, place.bao.address])
    proxy.on_request = lambda call: redirect(301, f"{place.bao.address}{call.path}")
    assert vault.read("apps/shop").data == {"n": 1}
